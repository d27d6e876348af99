// Decides which requests may spend the owner's credits. A web page can make a browser send requests to a
// loopback port, so a foreign `Origin` is refused. A `Host` that is a foreign name is refused too, because
// with DNS rebinding such a page counts as same-origin.

import NIOHTTP1
import OpenAIFormat
import Primitives
import UVLoop

struct Admission: Sendable {
    let origins: Set<String>
    let hosts: Set<String>
    let terms: CurrentTerms

    init(_ configuration: GatewayConfiguration, _ terms: CurrentTerms) {
        self.terms = terms
        origins = Set(configuration.origins.map { $0.lowercased() })
        hosts = Set(configuration.hosts.map { $0.lowercased() } + ["localhost"])
    }

    /// Returns the response that refuses the request, or nil to admit it.
    func refusal(of request: Request, needsKey: Bool) -> Response? {
        if let authority = request.authority {
            guard isOwn(authority) else {
                return Reply.error(
                    .invalid(
                        "This node is not called \"\(authority.prefix(100))\". Use its IP address or localhost; its owner can"
                            + " add the name to http.hosts.", code: "foreign_host"), status: .forbidden)
            }
        } else if request.isHTTP11 || request["host"] != nil {
            // A browser always sends one. Clients of HTTP/1.0 need not.
            return Reply.error(
                .invalid("A request needs one `Host` header.", code: "host_missing"), status: .badRequest)
        }
        if let origin = request["origin"], !allows(origin: origin, authority: request.authority) {
            return Reply.error(
                .invalid(
                    "Web pages of \"\(origin.prefix(100))\" may not use this node. Its owner can add it to http.origins.",
                    code: "foreign_origin"), status: .forbidden)
        }
        guard needsKey, let caller = caller(of: request) else {
            return needsKey
                ? unauthorized(
                    "This node requires one of its API keys: `Authorization: Bearer KEY`.", "invalid_api_key")
                : nil
        }
        guard case .client(let key) = caller else { return nil }
        if let expires = key.expires, expires <= SystemClock.wall {
            return unauthorized(
                "The key \(Printable.quoted(key.name)) has expired. The node's owner can give it another date, or you"
                    + " another key.", "expired_api_key")
        }
        if let route = request.route, !route.isForClients {
            return Reply.error(
                .invalid(
                    "\(request.path) is for the node's owner: the key \(Printable.quoted(key.name)) doesn't open it.",
                    code: "owner_only"), status: .forbidden)
        }
        return nil
    }

    private func unauthorized(_ message: String, _ code: String) -> Response {
        var response = Reply.error(
            ErrorBody(message: message, type: "invalid_request_error", code: code), status: .unauthorized)
        response.headers.add(name: "www-authenticate", value: "Bearer")
        return response
    }

    /// The node's own page, and the pages that the owner lists.
    private func allows(origin: String, authority: String?) -> Bool {
        let origin = origin.lowercased()
        return origins.contains(origin) || origins.contains("*")
            || authority.map { origin == "http://" + $0.lowercased() } ?? false
    }

    /// What a browser needs to let an admitted page read the response. SDKs send headers of their own, and read some.
    func addAccess(for request: Request, to headers: inout HTTPHeaders) {
        guard let origin = request["origin"], allows(origin: origin, authority: request.authority) else {
            return
        }
        // Never back to the client what would end a line.
        func plain(_ value: String) -> String {
            String(decoding: value.utf8.filter { (0x20...0x7E).contains($0) }, as: UTF8.self)
        }
        headers.add(name: "access-control-allow-origin", value: plain(origin))
        headers.add(name: "access-control-expose-headers", value: "*")
        headers.add(name: "vary", value: "origin")
        guard request.method == .OPTIONS, let route = request.route else { return }
        headers.add(name: "access-control-allow-methods", value: route.allow)
        headers.add(
            name: "access-control-allow-headers",
            value: plain(request["access-control-request-headers"] ?? "authorization, content-type"))
        headers.add(name: "access-control-max-age", value: "600")
    }

    /// Whether it is an IP literal, `localhost` or a configured name, with or without a port.
    private func isOwn(_ authority: String) -> Bool {
        if Endpoint(authority) != nil || Endpoint(authority + ":80") != nil { return true }
        var name = authority.lowercased()
        if let colon = name.lastIndex(of: ":"), UInt16(name[name.index(after: colon)...]) != nil {
            name = String(name[..<colon])
        }
        return hosts.contains(name)
    }

    /// Whose request it is; nil: it carries no key of this node, and needs one.
    func caller(of request: Request) -> Caller? {
        let now = terms.now
        let (apiKeys, keys) = (now.apiKeys, now.keys)
        if apiKeys.isEmpty, keys.isEmpty { return .owner }
        let given = request["authorization"] ?? ""
        guard given.lowercased().hasPrefix("bearer ") else { return nil }
        let token = Array(given.dropFirst(7).utf8)
        // Every key is compared in full, so that timing reveals nothing.
        if apiKeys.reduce(false, { Self.equal($1, token) || $0 }) { return .owner }
        if keys.isEmpty { return nil }
        // Of hashes it reveals nothing.
        let digest = ClientKey.digest(of: token)
        return keys.first { $0.digest == digest }.map { .client($0) }
    }

    private static func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        var difference = a.count ^ b.count
        for index in a.indices { difference |= Int(a[index] ^ (index < b.count ? b[index] : 0)) }
        return difference == 0
    }
}
