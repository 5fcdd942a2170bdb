-- Stop every piece after its current block.
--
-- ARGV  milliseconds: a moment that is nearer is waited for by a worker, which sends its block if the campaign was
--       resumed by then
--
-- Returns the state before, `done` if nothing is left to do, none if there is no such campaign. Moments further ahead
-- belong to tasks that will find the campaign paused, or another turn after a resume: they are free again, else a
-- resume would wait for them.

local state = field('state')
if state and state ~= 'cancelled' and is_done() then return {'done'} end
if state == 'running' then
    redis.call('HSET', key, 'state', 'paused')
    local near = now + tonumber(ARGV[1])
    if tonumber(field('tat') or '0') > near then redis.call('HSET', key, 'tat', string.format('%.0f', near)) end
end
return {state}
