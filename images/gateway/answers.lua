-- What lighttpd and apps get wrong in the headers of answers. lighttpd runs this for each of them.
local header = lighty.r.resp_header
local host = lighty.r.req_header["Host"]

-- An app that takes itself to be on plain HTTP sends clients there, where nobody listens.
for _, name in ipairs({ "Location", "Content-Location" }) do
    local scheme, authority, rest = string.match(header[name] or "", "^(%a+)://([^/?#]*)(.*)$")
    if scheme and host and scheme:lower() == "http" and authority:lower() == host:lower() then
        header[name] = "https://" .. authority .. rest
    end
end

-- A nonce begins with the time. Workers have clocks of their own, up to a second late while idle,
-- and refuse what another made "later"; two seconds earlier it is good for all of them.
for _, name in ipairs({ "WWW-Authenticate", "Authentication-Info" }) do
    local before, time, rest = string.match(header[name] or "", '^(.*nonce=")(%x+)(:.*)$')
    if time then
        header[name] = before .. string.format("%x", tonumber(time, 16) - 2) .. rest
    end
end
