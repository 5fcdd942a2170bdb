-- Start a campaign, unless the same one was started before.
--
-- ARGV  fingerprint, ETag, seconds to keep it, then names and values of its fields
--
-- Returns `started` or `same` with the number of its latest plan; `content` or `file` if the campaign of this id has
-- another one.

local existing = redis.call('HMGET', key, 'fingerprint', 'etag', 'plans')
if existing[1] then
    if existing[1] ~= ARGV[1] then return {'content'} end
    if existing[2] ~= ARGV[2] then return {'file'} end
    return {'same', existing[3]}
end
redis.call('HSET', key, 'fingerprint', ARGV[1], 'etag', ARGV[2], 'state', 'running', 'plans', 1,
    'paceVersion', 1, 'startedAt', string.format('%.0f', now), unpack(ARGV, 4))
redis.call('EXPIRE', key, ARGV[3])
expect_sign_of_life(now)
return {'started', '1'}
