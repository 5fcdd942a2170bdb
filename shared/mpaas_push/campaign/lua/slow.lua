-- Halve what all send, once a second at most: mPaaS has throttled.
--
-- ARGV  milliseconds of a window of what goes out
--
-- `base` is what went out a second when mPaaS began to throttle, at least 50: a blip at the beginning must not keep
-- campaigns at a crawl. All may send `factor` times as much.

local at = tonumber(field('slowedAt') or '0')
local factor = math.min(1, tonumber(field('factor') or '1') + (now - at) / 60000)
if now - at >= 1000 then
    if factor == 1 then
        local window, age = tonumber(ARGV[1]), now - tonumber(field('rateAt') or '0')
        local active = now - tonumber(field('rateSince') or '0')
        local sent = tonumber(field('rateNow') or '0')
            + tonumber(field('rateBefore') or '0') * math.max(0, 1 - age / window)
        redis.call('HSET', key, 'base', math.max(50, sent * 1000 / math.min(active, window)))
    end
    redis.call('HSET', key, 'factor', string.format('%.6f', math.max(factor / 2, 1 / 64)),
        'slowedAt', string.format('%.0f', now))
    redis.call('EXPIRE', key, 3600)
end
return {'slowed'}
