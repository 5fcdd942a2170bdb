-- Give a block its moment (GCRA): the earliest at which the pace allows it.
--
-- KEYS[1]  a campaign, whose pace is in it; or the bucket of all requests
-- ARGV     cost of the block, how many milliseconds ahead a moment may be, and the rate a second of a bucket
--          that has none of its own (empty: no limit)
--
-- Returns `at` with the milliseconds until then, or `later` with those until something may be reserved.

-- What mPaaS throttled makes everybody slower at once; it recovers within a minute (see `slow.lua`).
local rate = tonumber(ARGV[3]) or tonumber(field('pace') or '')
local factor = tonumber(field('factor') or '1')
if factor < 1 then
    factor = math.min(1, factor + (now - tonumber(field('slowedAt'))) / 60000)
    if factor < 1 then rate = (rate or 1000) * factor end
end
if not rate then return {'at', '0'} end
local tat = math.max(now, tonumber(field('tat') or '0'))
if tat - now > tonumber(ARGV[2]) then return {'later', string.format('%.0f', tat - now)} end
redis.call('HSET', key, 'tat', string.format('%.0f', tat + ARGV[1] * 1000 / rate))
return {'at', string.format('%.0f', tat - now)}
