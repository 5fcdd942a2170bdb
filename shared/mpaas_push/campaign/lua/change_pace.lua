-- Change the pace of a campaign that has not ended.
--
-- ARGV  targets a second, or empty for no limit
--
-- Returns `changed`; `cancelled` or `ended` if the change is refused; nothing if the campaign does not exist.

local state = field('state')
if not state then return {false} end
if state == 'cancelled' then return {state} end
if is_done() then return {'ended'} end
set_pace(ARGV[1])
return {'changed'}
