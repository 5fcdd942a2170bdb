-- Let every piece that is not done be worked on again: to resume, to cancel, and to wake those that wait.
--
-- ARGV  the state from now on: running, cancelled, or `same`; and if the pace is to change, the new one
--
-- A task that waits somewhere may have the next turn already: two further, no task has been yet. Whoever works on
-- a piece continues, and sees the state with its block; the task of the new turn waits until it is released.
--
-- Returns `reopened` with the number of the plan that submits them; `done` if nothing is left to do; `cancelled` or
-- `ended` (it is done, and was to be cancelled or to change its pace) if it was refused, and nothing changed; nothing
-- without such a campaign.

local state = field('state')
if not state then return {false} end
if state == 'cancelled' and (ARGV[1] == 'running' or ARGV[2]) then return {state} end
if is_done() then
    local is_refused = ARGV[2] or (ARGV[1] == 'cancelled' and state ~= 'cancelled')
    return {is_refused and 'ended' or 'done'}
end
if ARGV[2] then set_pace(ARGV[2]) end
if ARGV[1] ~= 'same' then redis.call('HSET', key, 'state', ARGV[1]) end
redis.call('HDEL', key, 'problem')
for index = 0, tonumber(field('pieces')) - 1 do
    local piece = read_piece(index)
    if piece.status ~= 'done' then
        set_status(index, piece, 'open')
        piece.turn, piece.attempts = piece.turn + 2, 0
        write_piece(index, piece)
    end
end
expect_sign_of_life(now)
return {'reopened', tostring(redis.call('HINCRBY', key, 'plans', 1))}
