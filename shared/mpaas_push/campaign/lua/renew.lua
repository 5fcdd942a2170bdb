-- Renew the lease of a piece.
--
-- ARGV  index of the piece, owner, milliseconds until others may take it
--
-- Returns `lost` if another worker holds the piece, else `kept` with the campaign's state.

local piece = read_piece(ARGV[1])
if piece.owner ~= ARGV[2] or piece.till == 0 then return {'lost'} end
piece.till = now + tonumber(ARGV[3])
write_piece(ARGV[1], piece)
expect_sign_of_life(piece.till)
return {'kept', field('state')}
