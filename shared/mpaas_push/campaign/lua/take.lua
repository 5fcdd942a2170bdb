-- Take a piece to work on it.
--
-- ARGV  index of the piece, turn of the task, owner, milliseconds until others may take it
--
-- Returns `taken` with offset and rows of the next block; `held` with the milliseconds for which another worker may
-- still keep it; `unknown` (no such campaign), `stale`, `done`, `paused` or `failed`.

local index, turn, owner, lease = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local state = field('state')
if not state then return {'unknown'} end
local piece = read_piece(index)
if piece.status == 'done' then return {'done'} end
if turn < piece.turn then return {'stale'} end
if state == 'paused' then return {'paused'} end
if piece.owner == owner and piece.till > now then -- the reply was lost, and this is a repetition
    return {'taken', piece.offset, piece.rows}
end
if piece.owner ~= '-' and piece.till > now then
    return {'held', string.format('%.0f', piece.till - now)}
end
-- Function Compute makes four attempts by default: during the fourth the piece is `failed`, until a block is committed.
if piece.attempts >= 5 then
    set_status(index, piece, 'failed')
    piece.owner = '-'
    write_piece(index, piece)
    return {'failed'}
end
piece.attempts = piece.attempts + 1
set_status(index, piece, piece.attempts >= 4 and 'failed' or 'open')
piece.turn, piece.owner, piece.till = turn, owner, now + lease
write_piece(index, piece)
expect_sign_of_life(piece.till)
return {'taken', piece.offset, piece.rows}
