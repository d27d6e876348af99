// A request that has arrived, and its response.

import Glibc
import NIOCore
import NIOHTTP1
import Synchronization

struct Request: Sendable {
    let head: HTTPRequestHead
    /// The connection, which may close meanwhile.
    let channel: any Channel
    let path: String
    let query: Substring
    let route: Route?
    /// The host to which the request is addressed: in its target, else in its one `Host` header.
    let authority: String?
    var body: ReceivedBody?

    init(_ head: HTTPRequestHead, channel: any Channel) {
        self.head = head
        self.channel = channel
        var target = Substring(head.uri)
        let hosts = head.headers["host"]
        var authority = hosts.count == 1 ? hosts[0] : nil
        // The form for proxies, which a server must understand too (RFC 9112 §3.2.2).
        if target.lowercased().hasPrefix("http://") {
            target = target.dropFirst("http://".count)
            let host = target.prefix { $0 != "/" && $0 != "?" }
            authority = String(host)
            target = target.dropFirst(host.count)
        }
        self.authority = authority
        let path = target.prefix { $0 != "?" }
        self.path = String(path)
        query = target.dropFirst(path.count + 1)
        route = Route(path: self.path)
    }

    var method: HTTPMethod { head.method }
    var isHTTP11: Bool { head.version.minor >= 1 }
    /// One beyond 63 bits is as large as can be.
    var contentLength: Int { self["content-length"].map { Int($0) ?? .max } ?? 0 }

    /// A coding of the body that this node doesn't undo, and the header that states it.
    var coding: (header: String, value: String)? {
        for (header, plain) in [("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")] {
            for value in head.headers[canonicalForm: header] where value.lowercased() != plain {
                return (header, String(value.prefix(40)))
            }
        }
        return nil
    }

    /// A header's first value.
    subscript(name: String) -> String? { head.headers.first(name: name) }

    /// The value of `name` in the query; nil when it is missing or can't be decoded.
    func parameter(_ name: String) -> String? {
        for pair in query.split(separator: "&") where pair.hasPrefix(name + "=") {
            return String(pair.dropFirst(name.count + 1)).removingPercentEscapes
        }
        return nil
    }
}

struct Response: Sendable {
    enum Body: Sendable {
        case whole([UInt8])
        /// The function is always called, also when the client has gone: then its first write throws.
        case stream(@Sendable (ResponseWriter) async throws -> Void)
    }

    var status: HTTPResponseStatus
    var headers: HTTPHeaders = [:]
    var body = Body.whole([])
}

/// The `Date` of responses (RFC 9110 §6.6.1), made anew each second.
enum HTTPDate {
    private static let latest = Mutex<(second: time_t, text: String)>((0, ""))

    static var now: String {
        var second = time(nil)
        return latest.withLock { latest in
            if latest.second == second { return latest.text }
            var parts = tm()
            gmtime_r(&second, &parts)
            var text = [CChar](repeating: 0, count: 40)
            let count = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
            latest = (
                second, String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            )
            return latest.text
        }
    }
}
