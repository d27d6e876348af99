// One TCP stream: bytes in as they arrive, bytes out through a bounded queue, and its end reported once.
//
// `onClosed` is the last callback and comes exactly once, never from inside a call of ours (libuv closes on
// the next turn), so an owner may close, write or drop in any callback. After the peer ends its stream,
// queued bytes are still sent. `close` flushes, sends FIN and waits for the peer's; `abort` resets.

import CLibuv
import Glibc
import Primitives

/// Bounds of one connection, in bytes and time.
public struct TCPLimits: Hashable, Sendable {
    /// `write` answers false at this many queued bytes or more. A larger value keeps a fast link busier, and
    /// costs memory for each slow reader.
    public var highWater = 256 * 1024
    /// `onWritable` fires when at most this many bytes are queued.
    public var lowWater = 64 * 1024
    /// A connection with more queued bytes than this is aborted: its owner ignores what `write` returns.
    public var queuedMax = 16 * 1024 * 1024
    /// How long `close` waits for queued bytes to be sent and for the peer's end of stream.
    public var closeTimeout = Interval.seconds(5)

    public init() {}
}

/// Why a connection ended.
public enum TCPEnd: Hashable, Sendable {
    /// We called `close`, and all queued bytes were sent.
    case closed
    /// We called `abort`.
    case aborted
    /// The peer ended its stream.
    case ended
    /// The connection was refused or broke.
    case failed(SocketError)
    /// The connection attempt wasn't answered in time, or queued bytes weren't sent in time after `close`.
    case timedOut
    /// More than `TCPLimits.queuedMax` was queued.
    case overflowed
    case loopStopped
}

/// A TCP connection, dialled or accepted.
public final class TCPConnection: LoopHandle {
    private enum Phase { case connecting, open, closing, closed }

    /// Bytes of one read: the part of the loop's buffer that libuv is offered.
    static let readBytesMax = 64 * 1024
    /// Idle time after which the kernel probes the peer.
    static let keepAliveSeconds: UInt32 = 60

    /// An outbound connection is established; reading begins when this returns.
    public var onConnected: (() -> Void)?
    /// Bytes that arrived; valid only during the call.
    public var onBytes: ((UnsafeRawBufferPointer) -> Void)?
    /// Follows a `write` that returned false: the queue is down to `lowWater`.
    public var onWritable: (() -> Void)?
    /// The last callback, exactly once.
    public var onClosed: ((TCPEnd) -> Void)?

    public private(set) var remote: Endpoint
    private let limits: TCPLimits
    private var phase: Phase
    private var end = TCPEnd.closed
    private var isPaused = false
    private var peerEnded = false
    private var wantsWritable = false
    /// Bytes not yet handed to libuv: because a write is in flight, or the connection isn't established yet.
    private var pending: [UInt8] = []
    private var isWriting = false
    private var isShutDown = false
    private var timer: Timer?

    // MARK: Opening

    /// Begins to connect. All failures, immediate or later, are reported by `onClosed`; set the callbacks in
    /// the same turn. Throws only when the loop is stopping.
    public init(
        on loop: EventLoop, to remote: Endpoint, timeout: Interval = .seconds(5), limits: TCPLimits = .init()
    ) throws(SocketError) {
        self.remote = remote
        self.limits = limits
        phase = .connecting
        try super.init(
            on: loop, bytes: MemoryLayout<uv_tcp_t>.size, stoppingError: .stopping(.tcpConnect, remote))
        try adopt(uv_tcp_init(loop.uv, handle())) { SocketError(status: $0, .tcpConnect, remote) }
        setOptions()
        let status = connect()
        if status != 0 {
            finish(.failed(SocketError(status: status, .tcpConnect, remote)))
        } else {
            expect(within: timeout)
        }
    }

    /// For the listener: accepts the pending connection. Nil when it is already gone or can't be accepted.
    init?(on loop: EventLoop, acceptedFrom listener: UnsafeMutablePointer<uv_stream_t>, limits: TCPLimits) {
        remote = Endpoint(ipv4: 0, port: 0)
        self.limits = limits
        phase = .open
        do {
            try super.init(
                on: loop, bytes: MemoryLayout<uv_tcp_t>.size, stoppingError: .stopping(.tcpListen, nil))
            try adopt(uv_tcp_init(loop.uv, handle())) { SocketError(status: $0, .tcpListen, nil) }
        } catch { return nil }
        setOptions()
        guard let stream = handle(as: uv_stream_t.self), let tcp = handle(as: uv_tcp_t.self),
            uv_accept(listener, stream) == 0,
            case .success(let peer) = SocketAddress.read({ uv_tcp_getpeername(tcp, $0, $1) })
        else {
            finish(.aborted)
            return nil
        }
        remote = peer
    }

    private func setOptions() {
        guard let tcp = handle(as: uv_tcp_t.self) else { return }
        uv_tcp_nodelay(tcp, 1)
        uv_tcp_keepalive(tcp, 1, TCPConnection.keepAliveSeconds)
    }

    private func connect() -> Int32 {
        guard let tcp = handle(as: uv_tcp_t.self) else { return -EBADF }
        let block = RequestBlock<uv_connect_t>(copying: [])
        let status = SocketAddress.with(remote) { address in
            uv_tcp_connect(block.request, tcp, address) { request, status in
                guard let request else { return }
                let connection = LoopHandle.object(request.pointee.handle, as: TCPConnection.self)
                RequestBlock(request).free()
                connection?.connected(status)
            }
        }
        if status != 0 { block.free() }
        return status
    }

    private func connected(_ status: Int32) {
        guard phase == .connecting else { return }
        if status != 0 { return finish(.failed(SocketError(status: status, .tcpConnect, remote))) }
        timer?.disarm()
        phase = .open
        onConnected?()
        begin()
    }

    /// The connection is established and the owner knows: sends what was written meanwhile, and starts
    /// reading.
    func begin() {
        guard phase == .open else { return }
        flush()
        read()
    }

    private func expect(within interval: Interval) {
        if timer == nil {
            // Fails only on a stopping loop, which closes everything itself.
            timer = try? Timer(on: loop) { [unowned self] in timedOut() }
        }
        timer?.arm(after: interval)
    }

    private func timedOut() {
        switch phase {
        case .connecting: finish(.timedOut)
        case .closing: finish(isShutDown ? end : .timedOut, resets: true)
        case .open, .closed: break
        }
    }

    // MARK: Reading

    /// Back-pressure: nothing is delivered, and the peer's end goes unnoticed, until `resumeReading`. Only
    /// tests of slow readers call it: a node holds its peers back by their tasks' windows.
    public func pauseReading() {
        loop.preconditionOnLoop()
        isPaused = true
        if phase == .open, let stream = handle(as: uv_stream_t.self) { uv_read_stop(stream) }
    }

    /// Ends `pauseReading`.
    public func resumeReading() {
        loop.preconditionOnLoop()
        isPaused = false
        if phase == .open { read() }
    }

    private func read() {
        guard !isPaused, !peerEnded, let stream = handle(as: uv_stream_t.self) else { return }
        let status = uv_read_start(
            stream,
            { handle, _, buffer in
                guard let connection = LoopHandle.object(handle, as: TCPConnection.self) else { return }
                buffer?.pointee = uv_buf_t(
                    base: connection.loop.scratch.baseAddress?.assumingMemoryBound(to: CChar.self),
                    len: TCPConnection.readBytesMax)
            },
            { stream, count, buffer in
                LoopHandle.object(stream, as: TCPConnection.self)?.received(count, buffer?.pointee.base)
            })
        // EALREADY: already reading.
        if status != 0 && status != -EALREADY {
            finish(.failed(SocketError(status: status, .tcpRead, remote)))
        }
    }

    private func received(_ count: Int, _ base: UnsafeMutablePointer<CChar>?) {
        switch count {
        case 1...:
            if phase == .open { onBytes?(UnsafeRawBufferPointer(start: base, count: count)) }
        case 0: break
        case Int(UV_EOF.rawValue):
            peerEnded = true
            if phase == .open { beginClosing(.ended) } else if isShutDown { finish(end) }
        default:
            // After our FIN, a reset counts as a normal end.
            if isShutDown { return finish(end) }
            finish(.failed(SocketError(status: Int32(clamping: count), .tcpRead, remote)))
        }
    }

    // MARK: Writing

    /// Bytes not yet accepted by the kernel.
    public var queuedBytes: Int {
        pending.count + (handle(as: uv_stream_t.self).map { uv_stream_get_write_queue_size($0) } ?? 0)
    }

    /// Sends or queues `bytes`. Returns false when the queue is at high water (wait for `onWritable`), and
    /// when the connection is closing, in which case the bytes are dropped. May be called before the
    /// connection is established.
    @discardableResult
    public func write(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { write($0) } }

    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        loop.preconditionOnLoop()
        guard phase == .open || phase == .connecting, let stream = handle(as: uv_stream_t.self) else {
            return false
        }
        var sent = 0
        if phase == .open && !isWriting && pending.isEmpty && !bytes.isEmpty {
            var buffer = uv_buf_t(
                base: UnsafeMutableRawPointer(mutating: bytes.baseAddress)?
                    .assumingMemoryBound(to: CChar.self), len: bytes.count)
            let status = uv_try_write(stream, &buffer, 1)
            if status < 0 && status != -EAGAIN {
                finish(.failed(SocketError(status: status, .tcpWrite, remote)))
                return false
            }
            sent = max(0, Int(status))
        }
        guard sent < bytes.count else { return true }
        pending.append(contentsOf: bytes[sent...])
        if queuedBytes > limits.queuedMax {
            finish(.overflowed, resets: true)
            return false
        }
        flush()
        if queuedBytes < limits.highWater { return true }
        wantsWritable = true
        return false
    }

    /// Hands libuv the pending bytes, one write at a time.
    private func flush() {
        guard !isWriting, !pending.isEmpty, phase == .open || phase == .closing,
            let stream = handle(as: uv_stream_t.self)
        else { return }
        let block = RequestBlock<uv_write_t>(copying: pending)
        var buffer = block.buffer
        let status = uv_write(block.request, stream, &buffer, 1) { request, status in
            guard let request else { return }
            let connection = LoopHandle.object(request.pointee.handle, as: TCPConnection.self)
            RequestBlock(request).free()
            connection?.wrote(status)
        }
        if status != 0 {
            block.free()
            return finish(.failed(SocketError(status: status, .tcpWrite, remote)))
        }
        isWriting = true
        pending.removeAll(keepingCapacity: pending.capacity <= limits.lowWater)
    }

    private func wrote(_ status: Int32) {
        isWriting = false
        guard phase != .closed else { return }
        if status != 0 { return finish(.failed(SocketError(status: status, .tcpWrite, remote))) }
        flush()
        if wantsWritable && queuedBytes <= limits.lowWater && phase == .open {
            wantsWritable = false
            onWritable?()
        }
        shutDownWhenFlushed()
    }

    // MARK: Closing

    /// Queued bytes are still sent (unless the connection isn't established yet); nothing more is delivered.
    /// `onClosed` follows when the peer has ended its side too, or after `closeTimeout`.
    public func close() {
        loop.preconditionOnLoop()
        switch phase {
        case .connecting: finish(.closed)
        case .open: beginClosing(.closed)
        case .closing, .closed: break
        }
    }

    /// Drops queued bytes and resets the connection.
    public func abort() {
        loop.preconditionOnLoop()
        finish(.aborted, resets: true)
    }

    override public func loopWillStop() { finish(.loopStopped) }

    private func beginClosing(_ end: TCPEnd) {
        self.end = end
        phase = .closing
        isPaused = false
        expect(within: limits.closeTimeout)
        // What the peer still sends is discarded; only its end matters.
        read()
        flush()
        shutDownWhenFlushed()
    }

    private func shutDownWhenFlushed() {
        guard phase == .closing, !isWriting, pending.isEmpty, let stream = handle(as: uv_stream_t.self)
        else { return }
        let block = RequestBlock<uv_shutdown_t>(copying: [])
        let status = uv_shutdown(block.request, stream) { request, _ in
            guard let request else { return }
            let connection = LoopHandle.object(request.pointee.handle, as: TCPConnection.self)
            RequestBlock(request).free()
            connection?.didShutDown()
        }
        if status != 0 {
            // ENOTCONN: the peer has already reset the connection.
            block.free()
            finish(end)
        }
    }

    private func didShutDown() {
        guard phase == .closing else { return }
        isShutDown = true
        if peerEnded { finish(end) }
    }

    private func finish(_ end: TCPEnd, resets: Bool = false) {
        guard phase != .closed else { return }
        self.end = end
        phase = .closed
        timer?.close()
        timer = nil
        pending = []
        beginClose { handle, closed in
            guard resets else { return -1 }
            let tcp = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_tcp_t.self)
            return uv_tcp_close_reset(tcp, closed)
        }
    }

    override func didClose() {
        let tell = onClosed
        onConnected = nil
        onBytes = nil
        onWritable = nil
        onClosed = nil
        tell?(end)
    }
}
