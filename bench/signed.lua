-- Makes wrk send one body again and again, each time with another key in a header:
--   wrk ... -s signed.lua URL -- PATH HEADER_OF_THE_KEY FILE_OF_THE_BODY [HEADER=VALUE...]
-- The signature covers the body alone, so that nothing is signed here.
local counter, salt, path, key_header, body = 0, 0, nil, nil, nil

function init(args)
    path, key_header = args[1], args[2]
    local file = assert(io.open(args[3], "rb"))
    body = file:read("*a")
    file:close()
    for at = 4, #args do
        local name, value = args[at]:match("^([^=]+)=(.*)$")
        wrk.headers[name] = value
    end
    math.randomseed(os.time() + math.floor(os.clock() * 1e6))
    salt = math.random(0, 0xffff)
    wrk.method = "POST"
end

function request()
    counter = counter + 1
    wrk.headers[key_header] = string.format("%08x%08x%04x%08x", math.random(0, 0xfffffff),
        math.random(0, 0xfffffff), salt, counter)
    return wrk.format(nil, path, nil, body)
end
