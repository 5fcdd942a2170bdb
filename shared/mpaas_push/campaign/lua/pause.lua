-- Let every piece end with its block. Returns the state before, none if there is no such campaign.

local state = field('state')
if state == 'running' then
    redis.call('HSET', key, 'state', 'paused')
end
return {state}
