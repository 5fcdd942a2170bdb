-- Change the pace: what was reserved ahead at the former one counts no more.
--
-- ARGV  targets a second, or empty for as fast as it goes
--
-- Returns the state, none if there is no such campaign.

local state = field('state')
if state then
    redis.call('HSET', key, 'pace', ARGV[1], 'tat', '0')
    redis.call('HINCRBY', key, 'paceVersion', 1)
end
return {state}
