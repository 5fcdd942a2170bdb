-- Count the pieces that workers hold.
--
-- ARGV  milliseconds: a lease with no more than this left was not renewed in time
--
-- Returns the number of pieces with a renewed lease, the number without, and when the first of the latter may be taken
-- by others, in milliseconds of this server; 0 if there is none.

local working, stalled, first = 0, 0, 0
for index = 0, tonumber(field('pieces') or '0') - 1 do
    local piece = read_piece(index)
    if piece.owner ~= '-' and piece.till > now then
        if piece.till - now > tonumber(ARGV[1]) then
            working = working + 1
        else
            stalled = stalled + 1
            if first == 0 or piece.till < first then first = piece.till end
        end
    end
end
return {tostring(working), tostring(stalled), string.format('%.0f', first)}
