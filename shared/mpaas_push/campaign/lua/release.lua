-- Release a piece before its task ends, so that the next task can take it.
--
-- ARGV  index of the piece, owner, milliseconds until the next task is due, `1` if it only waited (for its pace or
--       its window), which is not a failed attempt, and what went wrong, else empty
--
-- Returns `lost` if another worker holds the piece, else `released` with its turn: the next task has a later one.

local piece = read_piece(ARGV[1])
if piece.owner ~= ARGV[2] then return {'lost'} end
if piece.till > 0 then -- else the reply was lost, and this is a repetition
    piece.till = 0
    if ARGV[4] == '1' and piece.attempts > 0 then
        piece.attempts = piece.attempts - 1
        if piece.attempts < 4 then set_status(ARGV[1], piece, 'open') end
    end
    if piece.status == 'failed' and ARGV[5] ~= '' then redis.call('HSET', key, 'problem', ARGV[5]) end
    write_piece(ARGV[1], piece)
    expect_sign_of_life(now + tonumber(ARGV[3]))
end
return {'released', tostring(piece.turn)}
