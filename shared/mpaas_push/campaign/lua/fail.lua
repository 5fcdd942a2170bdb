-- Give a piece up until the campaign is resumed.
--
-- ARGV  index of the piece, owner, reason
--
-- Returns `lost` if another worker holds the piece, else `failed`.

local piece = read_piece(ARGV[1])
if piece.owner ~= ARGV[2] then return {'lost'} end
piece.owner, piece.till, piece.attempts = '-', 0, 5 -- no further attempts
set_status(ARGV[1], piece, 'failed')
write_piece(ARGV[1], piece)
redis.call('HSET', key, 'problem', ARGV[3])
return {'failed'}
