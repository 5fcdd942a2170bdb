-- Let every piece that is not done be worked on again: to resume, to cancel, and to wake those that wait.
--
-- ARGV  the state from now on: running, cancelled, or `same`
--
-- A task that waits somewhere may have the next turn already: two further, no task has been yet. Whoever works on
-- a piece goes on, and learns of the state with its block; the task of the new turn waits until it lets go.
--
-- Returns the state before and the number of the plan that submits them; no state without such a campaign.

local state = field('state')
if not state then return {false} end
if state == 'cancelled' and ARGV[1] == 'running' then return {state} end
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
return {state, tostring(redis.call('HINCRBY', key, 'plans', 1))}
