-- Reserve a moment for a block (GCRA): the earliest at which the pace allows it.
--
-- KEYS[1]  a campaign, which holds its pace; or the bucket of all requests
-- ARGV     cost of the block, maximum milliseconds until its moment; for the bucket its rate a second (empty: no
--          limit) and the milliseconds of a window of the rate
--
-- Returns `at` with the milliseconds until the moment, or `later` with those until one can be reserved.

local rate = tonumber(ARGV[3] or field('pace') or '')
-- Throttling by mPaaS slows all senders at once; the rate recovers within a minute (see `slow.lua`).
local factor = tonumber(field('factor') or '1')
if factor < 1 then
    factor = factor + (now - tonumber(field('slowedAt'))) / 60000
    if factor < 1 then rate = math.min(rate or math.huge, field('base') * factor) end
end
local tat = math.max(now, tonumber(field('tat') or '0'))
if rate and tat - now > tonumber(ARGV[2]) then return {'later', string.format('%.0f', tat - now)} end
if ARGV[4] then
    count_sent(ARGV[1], tonumber(ARGV[4]))
    redis.call('EXPIRE', key, 3600)
end
if not rate then return {'at', '0'} end
redis.call('HSET', key, 'tat', string.format('%.0f', tat + ARGV[1] * 1000 / rate))
return {'at', string.format('%.0f', tat - now)}
