-- Halve the rate of all senders, at most once a second, since mPaaS throttles.
--
-- ARGV  milliseconds of a window of the rate
--
-- `base` is the rate at which mPaaS began to throttle, at least 50 requests a second: early throttling must not slow
-- campaigns to a crawl. All may send `factor` times `base`.

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
