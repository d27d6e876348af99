// Accepts connections. The owner limits their number: it aborts those that it doesn't want.

import CLibuv
import Glibc
import Primitives

/// A listening TCP socket.
public final class TCPListener: LoopHandle {
    /// Connections that the kernel completes and holds until we accept them.
    public static let backlog: Int32 = 511

    /// The bound endpoint, with the actual port.
    public private(set) var endpoint: Endpoint
    /// Connections that were gone before they could be accepted.
    public private(set) var failures = 0
    /// No file descriptor was left for a connection, and the listener has closed: without one libuv would try
    /// to accept for ever. Listen again a little later.
    public var onExhausted: (() -> Void)?
    private let limits: TCPLimits
    private var onConnection: ((TCPConnection) -> Void)?

    /// Port 0 takes any free port; `[::]` serves IPv4 too where the system allows. `onConnection` sets the
    /// callbacks of an established connection; reading begins when it returns.
    public init(
        on loop: EventLoop, bind endpoint: Endpoint, limits: TCPLimits = .init(),
        _ onConnection: @escaping (TCPConnection) -> Void
    ) throws(SocketError) {
        self.endpoint = endpoint
        self.limits = limits
        self.onConnection = onConnection
        try super.init(
            on: loop, bytes: MemoryLayout<uv_tcp_t>.size, stoppingError: .stopping(.tcpListen, endpoint))
        try adopt(uv_tcp_init(loop.uv, handle())) { SocketError(status: $0, .tcpListen, endpoint) }
        let status = open(endpoint)
        if status != 0 {
            beginClose()
            throw SocketError(status: status, .tcpListen, endpoint)
        }
    }

    private func open(_ wanted: Endpoint) -> Int32 {
        guard let tcp = handle(as: uv_tcp_t.self), let stream = handle(as: uv_stream_t.self) else {
            return -EBADF
        }
        var status = SocketAddress.with(wanted) { uv_tcp_bind(tcp, $0, 0) }
        if status == 0 {
            // An address in use is reported here, not by bind.
            status = uv_listen(stream, TCPListener.backlog) { stream, status in
                LoopHandle.object(stream, as: TCPListener.self)?.accept(status)
            }
        }
        guard status == 0 else { return status }
        switch SocketAddress.read({ uv_tcp_getsockname(tcp, $0, $1) }) {
        case .success(let bound): endpoint = bound
        case .failure(let failure): return failure.code
        }
        return 0
    }

    private func accept(_ status: Int32) {
        if FileDescriptors.isExhaustion(-status) {
            let tell = onExhausted
            close()
            tell?()
            return
        }
        guard status == 0, let stream = handle(as: uv_stream_t.self),
            let connection = TCPConnection(on: loop, acceptedFrom: stream, limits: limits)
        else {
            failures += 1
            return
        }
        onConnection?(connection)
        connection.begin()
    }

    /// Stops listening; accepted connections live on.
    public func close() {
        loop.preconditionOnLoop()
        beginClose()
    }

    override func didClose() {
        onConnection = nil
        onExhausted = nil
    }
}
