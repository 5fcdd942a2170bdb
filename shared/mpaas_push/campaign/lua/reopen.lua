-- Open every piece that is not done: to resume, to cancel, and to wake waiting pieces.
--
-- ARGV  the new state: running, cancelled, or `same`; and the new pace, if it changes
--
-- A waiting task may already have the next turn, so the turn increases by two. A worker that holds a piece continues,
-- and sees the state as it commits its block; the task of the new turn waits until the piece is released.
--
-- Returns `reopened` with the number of the plan that submits the pieces; `done` if nothing is left to do; nothing if
-- the campaign does not exist. Refused, with nothing changed: `cancelled`, or `ended` if the campaign is done and
-- would be cancelled or change its pace.

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
