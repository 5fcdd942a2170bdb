-- Halve what all may send, once a second at most: mPaaS has throttled.

local at = tonumber(field('slowedAt') or '0')
local factor = math.min(1, tonumber(field('factor') or '1') + (now - at) / 60000)
if now - at >= 1000 then
    redis.call('HSET', key, 'factor', string.format('%.6f', math.max(factor / 2, 1 / 64)),
        'slowedAt', string.format('%.0f', now))
    redis.call('EXPIRE', key, 3600)
end
return {'slowed'}
