-- One record of the ledger: reads it and replaces it in one step.
--
-- A record is one line of text; its fields are separated by a space. `<at>` is when it was written, in
-- milliseconds:
--
--   1 claimed  <at> <fingerprint> <deadline> <owner>
--   1 accepted <at> <fingerprint> <outcome as JSON>
--   1 unknown  <at> <fingerprint> <outcome as JSON>
--
-- The owner of a claim that took over an unknown request ends with `/unknown`: once released, the request is
-- unknown again.
--
-- `1` is the version. New keys of the outcome do not change it: readers ignore unknown keys. This script never
-- changes a record that it cannot read (another version, another type, a truncated record).
-- All times are the server's, so the clocks of instances do not matter.
--
-- KEYS[1]  the record
-- ARGV[1]  claim:   acquire the right to send the request
--          settle:  replace the owner's claim by an outcome
--          release: end the owner's claim without an outcome
--          forget:  delete the record, regardless of its owner
-- ARGV[2]  owner of the claim, unique to it
-- claim:   ARGV[3] seconds to keep it, ARGV[4] fingerprint, ARGV[5] milliseconds until its deadline,
--          ARGV[6] 'retry' to take over an unknown request
-- settle:  ARGV[3] and ARGV[4] as above, ARGV[5] 'accepted' or 'unknown', ARGV[6] outcome as JSON
-- release: ARGV[3] and ARGV[4] as above
--
-- Returns the result: `claimed`, `reclaimed` (it was unknown), `busy` with the fingerprint, `reused` with the
-- time (another message is recorded), `settled` with state and outcome, `done`, or `unreadable`.

local action, owner = ARGV[1], ARGV[2]

if redis.replicate_commands then
    redis.replicate_commands() -- without it, servers before version 5 write nothing after TIME
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function write(state, rest)
    local record = string.format('1 %s %.0f %s %s', state, now, ARGV[4], rest)
    redis.call('SET', KEYS[1], record, 'EX', ARGV[3])
end

local record = redis.pcall('GET', KEYS[1])
if type(record) == 'table' then -- an error
    return string.find(record.err, 'WRONGTYPE', 1, true) and {'unreadable'} or record
end

local state, at, fingerprint, rest, deadline, claimant, unknown
if record then
    state, at, fingerprint, rest = string.match(record, '^1 (%l+) (%d+) (%S+) (.+)$')
    if state == 'claimed' then
        deadline, claimant = string.match(rest, '^(%d+) (%S+)$')
        unknown = claimant and string.match(claimant, '^(.+)/unknown$')
        claimant = unknown or claimant
    end
    if not (deadline or state == 'accepted' or state == 'unknown') then
        return {'unreadable'}
    end
end

if action == 'forget' or action == 'release' then
    if action == 'release' and unknown == owner then
        write('unknown', '{"result_code":"Interrupted","result_message":"an earlier attempt may have arrived"}')
    elseif action == 'forget' or claimant == owner then
        redis.call('DEL', KEYS[1])
    end
    return {'done'}
end

if action == 'settle' then
    -- An accepted request stays accepted even if it is being sent again; the first outcome of a kind is kept.
    if not record or claimant == owner or ARGV[5] == 'accepted' and state ~= 'accepted' then
        write(ARGV[5], ARGV[6])
    end
    return {'done'}
end

if claimant and claimant ~= owner and tonumber(deadline) > now then
    return {'busy', fingerprint}
end
if record and claimant ~= owner then
    if fingerprint ~= ARGV[4] then
        return {'reused', at}
    end
    if state == 'accepted' or ARGV[6] ~= 'retry' then
        return {'settled', state, claimant and '' or rest}
    end
end
local reclaimed = record and (claimant ~= owner or unknown)
write('claimed', string.format('%.0f %s%s', now + ARGV[5], owner, reclaimed and '/unknown' or ''))
return {reclaimed and 'reclaimed' or 'claimed'}
