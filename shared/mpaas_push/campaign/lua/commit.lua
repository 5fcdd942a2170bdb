-- Account for a block: offset, counts and lease of its piece in one step.
--
-- ARGV  index of the piece, owner, milliseconds until others may take it, offset before and after the block,
--       rows of the next block, `1` if the piece has ended, milliseconds of a window of the rate, then names and
--       numbers to add
--
-- Returns `lost` if another worker holds the piece, else `kept` with the campaign's state, pace and pace version.

local index, owner, lease, from, to = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
if not field('state') then return {'lost'} end
local piece = read_piece(index)
if piece.offset ~= to or from == to and piece.status ~= 'done' then -- else the reply was lost, and this is a repetition
    if piece.owner ~= owner or piece.offset ~= from then return {'lost'} end
    for argument = 9, #ARGV, 2 do
        local name, number = ARGV[argument], ARGV[argument + 1]
        if name == 'n.sent' then count_sent(number, tonumber(ARGV[8])) else count(name, number) end
    end
    set_status(index, piece, ARGV[7] == '1' and 'done' or 'open')
    piece.offset, piece.rows, piece.attempts, piece.till = to, ARGV[6], 0, now + lease
    if piece.status == 'done' or field('state') == 'paused' then
        piece.owner, piece.till = '-', 0
    end
    write_piece(index, piece)
    expect_sign_of_life(now + lease)
    if is_done() then
        redis.call('HSETNX', key, 'finishedAt', string.format('%.0f', now))
    end
end
return {'kept', field('state'), field('pace'), field('paceVersion')}
