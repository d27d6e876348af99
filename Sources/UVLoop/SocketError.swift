// Errors of sockets, with a text for the operator, who can fix their cause.

import CLibuv
import Glibc
import Primitives

/// A failed operation on a socket, timer or loop: the errno, what was tried, and where.
public struct SocketError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Operation: String, Sendable {
        case loop = "start an event loop"
        case timer = "make a timer"
        case udpBind = "bind UDP"
        case tcpListen = "listen on TCP"
        case tcpConnect = "connect to"
        case tcpRead = "read from"
        case tcpWrite = "write to"
    }

    /// The errno, positive.
    public let code: Int32
    public let operation: Operation
    public let endpoint: Endpoint?

    public init(code: Int32, _ operation: Operation, _ endpoint: Endpoint?) {
        self.code = code
        self.operation = operation
        self.endpoint = endpoint
    }

    /// libuv's statuses are negative errnos.
    init(status: Int32, _ operation: Operation, _ endpoint: Endpoint?) {
        self.init(code: -status, operation, endpoint)
    }

    static func stopping(_ operation: Operation, _ endpoint: Endpoint?) -> SocketError {
        SocketError(code: ECANCELED, operation, endpoint)
    }

    /// `EADDRINUSE`.
    public var name: String { text(uv_err_name_r) }

    /// `address already in use`.
    public var reason: String { text(uv_strerror_r) }

    /// The system's words for an errno.
    public static func reason(_ code: Int32) -> String { SocketError(code: code, .tcpConnect, nil).reason }

    /// `port 7400 is taken (EADDRINUSE: can't bind UDP 0.0.0.0:7400)`.
    public var description: String {
        let place = endpoint.map { " \($0)" } ?? ""
        let attempt = "\(name): can't \(operation.rawValue)\(place)"
        switch (code, endpoint) {
        case (EADDRINUSE, let endpoint?): return "port \(endpoint.port) is taken (\(attempt))"
        case (EADDRNOTAVAIL, let endpoint?):
            return "this machine has no address \(endpoint.host) (\(attempt))"
        case (EACCES, let endpoint?) where endpoint.port < 1_024 && endpoint.port > 0:
            return "port \(endpoint.port) needs privileges, take one above 1023 (\(attempt))"
        case (EMFILE, _): return "too many open files, see ulimit -n (\(attempt))"
        case (ECONNREFUSED, let endpoint?): return "nothing listens at \(endpoint) (\(attempt))"
        case (ECANCELED, _): return "the event loop is stopping (\(attempt))"
        default: return "\(reason) (\(attempt))"
        }
    }

    private func text(_ write: (Int32, UnsafeMutablePointer<CChar>?, Int) -> UnsafeMutablePointer<CChar>?)
        -> String
    {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            buffer.initialize(repeating: 0)
            guard let text = write(-code, buffer.baseAddress, buffer.count) else { return "errno \(code)" }
            return String(cString: text)
        }
    }
}
