-- Shared by all scripts: the time of this server, and the format of a piece.
--
-- A campaign is one hash. Its pieces are the fields `p<index>`, each one line of text, separated by spaces:
--
--   <status> <turn> <offset> <rows> <attempts> <owner> <until>
--
--   status    open, done, or failed (given up until the campaign is resumed)
--   turn      which task works on it; a task of an earlier turn is stale
--   offset    first byte that is not accounted for; -1 before the first block
--   rows      number of rows of the block that begins there, so that a repetition consists of the same requests
--   attempts  how often it was taken since its last block
--   owner     the invocation that holds it, or held it last; - before the first one, and after the last
--   until     milliseconds: when others may take it from its owner; 0 if it was released
--
-- A piece that no worker has taken has no field.

local key = KEYS[1]
if redis.replicate_commands then
    redis.replicate_commands() -- without it, servers before version 5 refuse writes after TIME
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function field(name)
    return redis.call('HGET', key, name)
end

local function count(name, number)
    redis.call('HINCRBYFLOAT', key, name, number)
end

local function read_piece(index)
    local text = field('p' .. index)
    if not text then
        return {status = 'open', turn = 1, offset = '-1', rows = field('blockRows'), attempts = 0, owner = '-', till = 0}
    end
    local status, turn, offset, rows, attempts, owner, till =
        string.match(text, '^(%l+) (%d+) (%-?%d+) (%d+) (%d+) (%S+) (%d+)$')
    return {
        status = status, turn = tonumber(turn), offset = offset, rows = rows,
        attempts = tonumber(attempts), owner = owner, till = tonumber(till),
    }
end

local function write_piece(index, piece)
    redis.call('HSET', key, 'p' .. index, string.format('%s %d %s %s %d %s %.0f',
        piece.status, piece.turn, piece.offset, piece.rows, piece.attempts, piece.owner, piece.till))
end

local function set_status(index, piece, status)
    if piece.status ~= status then
        if piece.status ~= 'open' then count(piece.status, -1) end
        if status ~= 'open' then count(status, 1) end
        piece.status = status
    end
end

local function expect_sign_of_life(at)
    if at > tonumber(field('activeUntil') or '0') then
        redis.call('HSET', key, 'activeUntil', string.format('%.0f', at))
    end
end

local function is_done()
    return tonumber(field('done') or '0') >= tonumber(field('pieces'))
end

-- Moments that were reserved ahead at the previous pace are released.
local function set_pace(pace)
    redis.call('HSET', key, 'pace', pace, 'tat', '0')
    redis.call('HINCRBY', key, 'paceVersion', 1)
end

-- Count sent targets or requests in windows: a rate is computed from the current window and the previous one.
local function count_sent(number, window)
    local at = tonumber(field('rateAt') or '0')
    if now - at >= 2 * window then -- the first in a long time: a rate covers at least one second
        redis.call('HSET', key, 'rateAt', string.format('%.0f', now), 'rateSince', string.format('%.0f', now - 1000),
            'rateBefore', '0', 'rateNow', '0')
    elseif now - at >= window then
        redis.call('HSET', key, 'rateAt', string.format('%.0f', at + window),
            'rateBefore', field('rateNow'), 'rateNow', '0')
    end
    redis.call('HINCRBY', key, 'rateNow', number)
end

