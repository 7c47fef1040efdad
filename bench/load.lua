-- Makes wrk send distinct webhooks of about 190 bytes. The keys are random, or a counter with `-- ordered`. With
-- `-- rate=N` so many a second, as far as they are answered in time.
local ffi = require("ffi")
ffi.cdef("int clock_gettime(int, void *);")
local counter, ordered, salt = 0, false, 0

local time = ffi.new("struct { long seconds, nanoseconds; }")

-- Monotonic, in seconds.
local function now()
    ffi.C.clock_gettime(1, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function init(args)
    ordered = args[1] == "ordered"
    local rate = tonumber((args[1] or ""):match("^rate=(%d+)$"))
    if rate then
        local due = now()
        function delay()
            due = due + 1 / rate
            return math.max(0, math.floor((due - now()) * 1000))
        end
    end
    math.randomseed(os.time() + math.floor(os.clock() * 1e6))
    salt = math.random(0, 0xffff)
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
end

local function key()
    counter = counter + 1
    if ordered then
        return string.format("%016x%016d", os.time(), counter)
    end
    return string.format("%08x%08x%08x%04x%04x", math.random(0, 0xfffffff), math.random(0, 0xfffffff),
        math.random(0, 0xfffffff), salt, counter % 0x10000)
end

function request()
    local body = string.format('{"idempotency_key":"%s","event_type":"order.paid","payload":{"order":%d,'
        .. '"customer":"customer-%06d","currency":"EUR","total":129.9,"items":3,"note":"thanks"}}',
        key(), counter, counter % 100000)
    return wrk.format(nil, "/v1/webhooks", nil, body)
end
