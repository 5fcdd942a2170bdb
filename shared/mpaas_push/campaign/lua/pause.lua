-- Stop every piece after its current block.
--
-- ARGV  milliseconds: a worker waits for a moment that is nearer, and sends its block if the campaign was resumed
--       by then
--
-- Returns the previous state; `done` if nothing is left to do; nothing if the campaign does not exist.
--
-- Moments further ahead belong to tasks that will be stale or see the campaign paused. They are released: a resume
-- must not wait for them.

local state = field('state')
if state and state ~= 'cancelled' and is_done() then return {'done'} end
if state == 'running' then
    redis.call('HSET', key, 'state', 'paused')
    local near = now + tonumber(ARGV[1])
    if tonumber(field('tat') or '0') > near then redis.call('HSET', key, 'tat', string.format('%.0f', near)) end
end
return {state}
