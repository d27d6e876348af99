// Datagrams in batches. Receiving: each time libuv's poll reports data, one recvmmsg(2) reads into the loop's
// shared buffer; the owner sees each datagram, then `onBatchEnd`, where it sends the replies. Sending: one
// sendmmsg(2) for a slab. We own the socket and libuv only polls it, because its uv_udp_t reads on until the
// kernel's queue is empty and gives each datagram 64 KiB.
//
// No network failure is fatal here: a datagram that can't leave is counted and dropped. When the kernel's
// buffer is full, up to `waitingMax` datagrams wait. The oldest is dropped first, since to the protocol an
// old answer is worth less than a new one.

import CLibuv
import DequeModule
import Glibc
import Primitives

/// A bound UDP socket.
public final class UDPSocket: LoopHandle {
    /// Outcomes of datagrams. Counters only grow.
    public struct Counters: Hashable, Sendable {
        public var received = 0
        public var sent = 0
        /// Failed receive calls: ICMP errors and the like.
        public var receiveErrors = 0
        /// Datagrams that the kernel refused: no route, a firewall, too long.
        public var sendErrors = 0
        /// Datagrams to an IPv6 destination on an IPv4 socket, to port 0, or with a slot outside the slab.
        public var unroutable = 0
        /// Datagrams that waited for the kernel and were dropped for newer ones, or for which it had no memory.
        public var overflowed = 0
    }

    /// Requested from the kernel for each direction; it may grant less (net.core.rmem_max). A limit, not an
    /// allocation.
    public static let kernelBufferBytes: Int32 = 4 * 1024 * 1024
    /// Datagrams that may wait for the kernel: about 1.2 MB. A smaller value loses bursts; a larger one keeps
    /// stale ones.
    public static let waitingMax = 1_024

    /// Longer datagrams are truncated to this; the protocol's have at most 1,200 bytes.
    public static let datagramBytesMax = ReceiveBatch.slotBytes

    /// Called for each datagram. The bytes may be changed in place and are valid only during the call.
    public var onDatagram: ((UnsafeMutableRawBufferPointer, Endpoint) -> Void)?
    /// Called after the last datagram of a batch.
    public var onBatchEnd: (() -> Void)?
    public private(set) var counters = Counters()
    /// The bound endpoint, with the actual port.
    public private(set) var endpoint: Endpoint
    private let family: Int32
    private var descriptor: Int32 = -1
    private let arrived: ReceiveBatch
    private let batch = DatagramBatch()
    private var waiting = Deque<(bytes: [UInt8], endpoint: Endpoint)>()
    /// sendmmsg(2), or a negative errno on failure. Tests replace it, because loopback never refuses.
    var kernelSend: (Int32, UnsafeMutablePointer<cuv_message>, UInt32) -> Int32 = {
        descriptor, messages, count in
        let sent = cuv_sendmmsg(descriptor, messages, count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        return sent < 0 ? -errno : sent
    }

    /// Binds and begins to receive. Port 0 takes any free port; `[::]` serves IPv4 too where the system
    /// allows.
    public init(on loop: EventLoop, bind endpoint: Endpoint) throws(SocketError) {
        self.endpoint = endpoint
        family = SocketAddress.family(of: endpoint)
        arrived = ReceiveBatch(into: loop.scratch)
        try super.init(
            on: loop, bytes: MemoryLayout<uv_poll_t>.size, stoppingError: .stopping(.udpBind, endpoint))
        var status = open(endpoint)
        if status == 0 { status = uv_poll_init(loop.uv, handle(), descriptor) }
        if status != 0 { closeDescriptor() }
        try adopt(status) { SocketError(status: $0, .udpBind, endpoint) }
        status = poll(UV_READABLE)
        if status != 0 {
            beginClose()
            throw SocketError(status: status, .udpBind, endpoint)
        }
    }

    private func open(_ wanted: Endpoint) -> Int32 {
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = socket(family, kind, 0)
        guard descriptor >= 0 else { return -errno }
        let descriptor = descriptor
        let status = SocketAddress.with(wanted) { address in
            let length = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
            return bind(descriptor, address, socklen_t(length)) == 0 ? 0 : -errno
        }
        guard status == 0 else { return status }
        switch SocketAddress.read({ address, length in
            var size = socklen_t(length.pointee)
            return getsockname(descriptor, address, &size) == 0 ? 0 : -errno
        }) {
        case .success(let bound): endpoint = bound
        case .failure(let failure): return failure.code
        }
        for option in [SO_RCVBUF, SO_SNDBUF] {
            var bytes = UDPSocket.kernelBufferBytes
            setsockopt(descriptor, SOL_SOCKET, option, &bytes, socklen_t(MemoryLayout<Int32>.size))
        }
        return 0
    }

    private func poll(_ events: uv_poll_event) -> Int32 {
        guard let poll = handle(as: uv_poll_t.self) else { return -EBADF }
        return uv_poll_start(poll, Int32(events.rawValue)) { handle, status, events in
            guard let socket = LoopHandle.object(handle, as: UDPSocket.self) else { return }
            socket.polled(status, events)
        }
    }

    private func polled(_ status: Int32, _ events: Int32) {
        guard status == 0 else {
            // The socket's pending error concerns one datagram, but libuv stops polling for it: clear it and
            // poll again.
            counters.receiveErrors += 1
            var error: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size)
            _ = poll(waiting.isEmpty ? UV_READABLE : Self.both)
            return
        }
        if events & Int32(UV_WRITABLE.rawValue) != 0 { sendWaiting() }
        if events & Int32(UV_READABLE.rawValue) != 0, isOpen { receive() }
    }

    private static let both = uv_poll_event(rawValue: UV_READABLE.rawValue | UV_WRITABLE.rawValue)

    /// Stops receiving and sending; waiting datagrams are dropped.
    public func close() {
        loop.preconditionOnLoop()
        waiting.removeAll()
        beginClose()
    }

    override func didClose() {
        closeDescriptor()
        onDatagram = nil
        onBatchEnd = nil
    }

    private func closeDescriptor() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    // MARK: Receiving

    /// Receives one batch. If the kernel has more, poll reports it again after timers and other sockets had
    /// their turn.
    private func receive() {
        let count = arrived.receive(descriptor)
        guard count > 0 else {
            if count != -EAGAIN, count != -EINTR { counters.receiveErrors += 1 }
            return
        }
        for index in 0..<Int(count) where isOpen {
            guard let source = arrived.source(index) else { continue }
            counters.received += 1
            onDatagram?(arrived.bytes(index), source)
        }
        if isOpen { onBatchEnd?() }
    }

    // MARK: Sending

    /// Sends `count` datagrams out of `slab`, in order, up to 128 a system call. The slab may be reused on
    /// return. Never fails: see `counters`.
    public func send(_ slab: UnsafeRawBufferPointer, count: Int, _ slot: (Int) -> DatagramSlot) {
        loop.preconditionOnLoop()
        guard isOpen else { return }
        var next = 0
        while next < count {
            batch.removeAll()
            while next < count && !batch.isFull {
                let each = slot(next)
                next += 1
                guard each.offset >= 0, each.length >= 0, each.length <= slab.count,
                    each.offset <= slab.count - each.length,
                    batch.append(
                        UnsafeRawBufferPointer(rebasing: slab[each.offset..<each.offset + each.length]),
                        to: each.endpoint, family: family)
                else {
                    counters.unroutable += 1
                    continue
                }
            }
            transmit()
        }
    }

    public func send(_ slab: UnsafeRawBufferPointer, _ slots: [DatagramSlot]) {
        send(slab, count: slots.count) { slots[$0] }
    }

    public func send(_ bytes: [UInt8], to endpoint: Endpoint) {
        bytes.withUnsafeBytes { raw in
            send(raw, count: 1) { _ in DatagramSlot(offset: 0, length: raw.count, endpoint: endpoint) }
        }
    }

    /// Sends the batch, or queues it behind datagrams that already wait for the kernel.
    private func transmit() {
        guard waiting.isEmpty else { return wait(from: 0) }
        let taken = push()
        if taken < batch.count {
            wait(from: taken)
            _ = poll(Self.both)
        }
    }

    /// Returns how many of the batch are done with, sent or refused: fewer than all when the kernel's buffer
    /// is full.
    private func push() -> Int {
        var next = 0
        while next < batch.count {
            let result = kernelSend(descriptor, batch.messages + next, UInt32(batch.count - next))
            switch result {
            case 1...:
                counters.sent += Int(result)
                next += Int(result)
            case -EINTR: continue
            case -EAGAIN: return next
            case -ENOBUFS, -ENOMEM:
                counters.overflowed += 1
                next += 1
            default:
                // An error from ICMP or a firewall: it concerns only the first datagram.
                counters.sendErrors += 1
                next += 1
            }
        }
        return next
    }

    private func wait(from first: Int) {
        for i in first..<batch.count {
            if waiting.count == UDPSocket.waitingMax {
                waiting.removeFirst()
                counters.overflowed += 1
            }
            waiting.append((Array(batch.bytes(i)), batch.endpoints[i]))
        }
    }

    /// Called when the kernel takes datagrams again.
    private func sendWaiting() {
        while !waiting.isEmpty {
            let taken = pushWaiting(waiting.prefix(DatagramBatch.capacity))
            waiting.removeFirst(taken.done)
            if taken.isBlocked { return }
        }
        _ = poll(UV_READABLE)
    }

    /// Sends the oldest waiting datagrams, through a temporary slab.
    private func pushWaiting(_ datagrams: Deque<(bytes: [UInt8], endpoint: Endpoint)>.SubSequence)
        -> (done: Int, isBlocked: Bool)
    {
        let slab = datagrams.flatMap(\.bytes)
        return slab.withUnsafeBytes { raw in
            batch.removeAll()
            var offset = 0
            for datagram in datagrams {
                let range = offset..<offset + datagram.bytes.count
                offset = range.upperBound
                // It was in a batch before, so its family fits.
                _ = batch.append(
                    UnsafeRawBufferPointer(rebasing: raw[range]), to: datagram.endpoint, family: family)
            }
            let done = push()
            return (done, done < batch.count)
        }
    }
}
