// What this machine can tell of addresses: its own, whether one can be listened at, and what answers at another's.
// The questions block their thread, for a second at most.

import Glibc
import Primitives

public enum ThisMachine {
    /// This machine's addresses other than loopback and link-local ones, IPv4 first; port 0.
    public static func addresses() -> [Endpoint] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [] }
        defer { freeifaddrs(first) }
        var found: [Endpoint] = []
        var next = first
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, entry.ifa_flags & UInt32(IFF_UP) != 0,
                var endpoint = SocketAddress.load(address), !endpoint.isLoopback, !isLinkLocal(endpoint)
            else { continue }
            endpoint.port = 0
            if !found.contains(endpoint) { found.append(endpoint) }
        }
        return found.filter(\.isIPv4) + found.filter { !$0.isIPv4 }
    }

    /// Such an address says nothing without the interface that it belongs to.
    private static func isLinkLocal(_ endpoint: Endpoint) -> Bool {
        endpoint.ipv4.map { $0 >> 16 == 0xa9fe } ?? (endpoint.high >> 54 == 0xfe80 >> 6)
    }

    /// Throws what would keep a listener from `endpoint` now.
    public static func checkListening(at endpoint: Endpoint) throws(SocketError) {
        let descriptor = socket(SocketAddress.family(of: endpoint), Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw SocketError(code: errno, .tcpListen, endpoint) }
        defer { close(descriptor) }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        let status = SocketAddress.with(endpoint) { address in
            bind(descriptor, address, SocketAddress.length(of: endpoint)) == 0
                && listen(descriptor, 1) == 0 ? 0 : -errno
        }
        guard status == 0 else { throw SocketError(status: status, .tcpListen, endpoint) }
    }

    /// What answers at an address.
    public struct Sight: Hashable, Sendable {
        public enum Connection: Hashable, Sendable {
            case accepted, refused, silent
            /// The errno.
            case unreachable(Int32)
        }
        public var connection: Connection
        /// The machine says that nothing has this UDP port.
        public var refusesDatagrams: Bool
        /// Datagrams that came back, some of them.
        public var answers: [[UInt8]]

        public init(connection: Connection, refusesDatagrams: Bool = false, answers: [[UInt8]] = []) {
            (self.connection, self.refusesDatagrams) = (connection, refusesDatagrams)
            self.answers = answers
        }
    }

    /// Sends `datagrams` to `endpoint`, then connects to it; waits at most `milliseconds` for each answer and for the
    /// connection.
    public static func look(
        at endpoint: Endpoint, asking datagrams: [[UInt8]], for milliseconds: Int32 = 500
    ) -> Sight {
        var sight = Sight(connection: .accepted)
        let isRefused = attempt(endpoint, SOCK_DGRAM) { descriptor in
            for datagram in datagrams {
                // The answer to one may be the error of the next.
                guard send(descriptor, datagram, datagram.count, Int32(MSG_NOSIGNAL)) >= 0 else {
                    return errno
                }
            }
            while sight.answers.count < datagrams.count {
                let code = wait(descriptor, POLLIN, milliseconds)
                guard code == 0 else { return code }
                var answer = [UInt8](repeating: 0, count: 2_048)
                let count = recv(descriptor, &answer, answer.count, 0)
                guard count >= 0 else { return errno }
                sight.answers.append(Array(answer.prefix(count)))
            }
            return 0
        }
        sight.refusesDatagrams = isRefused == ECONNREFUSED
        switch attempt(endpoint, SOCK_STREAM, { wait($0, POLLOUT, milliseconds) }) {
        case 0: sight.connection = .accepted
        case ECONNREFUSED: sight.connection = .refused
        case ETIMEDOUT: sight.connection = .silent
        case let code: sight.connection = .unreachable(code)
        }
        return sight
    }

    /// Connects a socket and returns the errno of that, or what `use` returns.
    private static func attempt(
        _ endpoint: Endpoint, _ type: __socket_type, _ use: (Int32) -> Int32
    ) -> Int32 {
        let flags = Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(SocketAddress.family(of: endpoint), flags, 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        let status = SocketAddress.with(endpoint) { address in
            connect(descriptor, address, SocketAddress.length(of: endpoint)) == 0 ? 0 : -errno
        }
        return status == 0 || status == -EINPROGRESS ? use(descriptor) : -status
    }

    /// 0 when the socket is ready, its error, or `ETIMEDOUT`.
    private static func wait(_ descriptor: Int32, _ events: Int32, _ milliseconds: Int32) -> Int32 {
        var waiting = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        guard poll(&waiting, 1, milliseconds) == 1 else { return ETIMEDOUT }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno
    }
}
