-- Change the pace of a campaign that has not ended.
--
-- ARGV  targets a second, or empty for as fast as it goes
--
-- Returns `changed`; `cancelled` or `ended` if it was refused; nothing without such a campaign.

local state = field('state')
if not state then return {false} end
if state == 'cancelled' then return {state} end
if is_done() then return {'ended'} end
set_pace(ARGV[1])
return {'changed'}
