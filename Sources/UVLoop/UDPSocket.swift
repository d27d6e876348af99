// Datagrams in batches. Receiving: libuv's recvmmsg mode, up to twenty datagrams a system call, into the loop's one
// buffer; the owner sees each, then `onBatchEnd`, where it sends what they caused. Sending: one sendmmsg for a slab.
//
// Nothing that the network does is fatal here: a datagram that can't leave is counted and forgotten. When the
// kernel's buffer is full, up to `waitingMax` datagrams wait, the oldest dropped first: for the protocol an old
// answer is worth less than a new one.

import CLibuv
import DequeModule
import Glibc
import Primitives

public final class UDPSocket: LoopHandle {
    /// What became of datagrams. Only ever grows.
    public struct Counters: Hashable, Sendable {
        public var received = 0
        public var sent = 0
        /// Receive calls that failed: ICMP errors and the like.
        public var receiveErrors = 0
        /// The kernel refused one datagram: no route, a firewall, too long, out of buffers.
        public var sendErrors = 0
        /// An IPv6 destination on an IPv4 socket, port 0, a slot outside its slab.
        public var unroutable = 0
        /// Waited for the kernel and gave way to younger ones.
        public var overflowed = 0
    }

    /// Asked of the kernel for each direction; it may give less (net.core.rmem_max). A limit, not an allocation.
    public static let kernelBufferBytes: Int32 = 4 * 1024 * 1024
    /// Datagrams that wait while the kernel takes none: about 1.2 MB. Smaller loses bursts, larger keeps stale ones.
    public static let waitingMax = 1_024

    /// Called for each datagram; the bytes may be changed in place and are gone after the call.
    public var onDatagram: ((UnsafeMutableRawBufferPointer, Endpoint) -> Void)?
    /// Called after the last datagram of a batch.
    public var onBatchEnd: (() -> Void)?
    public private(set) var counters = Counters()
    /// Where it is bound, with the true port.
    public private(set) var endpoint: Endpoint
    private let family: Int32
    private var descriptor: Int32 = -1
    private var arrived: [(UnsafeMutableRawBufferPointer, Endpoint)] = []
    private let batch = DatagramBatch()
    private var waiting = Deque<(bytes: [UInt8], endpoint: Endpoint)>()
    private var isWaiting = false
    /// sendmmsg(2) with a negative errno for a failure. Replaced by tests: loopback never refuses.
    var kernelSend: (Int32, UnsafeMutablePointer<cuv_message>, UInt32) -> Int32 = {
        descriptor, messages, count in
        let sent = cuv_sendmmsg(descriptor, messages, count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        return sent < 0 ? -errno : sent
    }

    /// Binds and begins to receive. Port 0 takes any free one; `[::]` serves IPv4 too where the system allows.
    public init(on loop: EventLoop, bind endpoint: Endpoint) throws(SocketError) {
        self.endpoint = endpoint
        family = SocketAddress.family(of: endpoint)
        try super.init(
            on: loop, bytes: MemoryLayout<uv_udp_t>.size, stoppingError: .stopping(.udpBind, endpoint))
        let flags = UInt32(family) | UInt32(UV_UDP_RECVMMSG.rawValue)
        try adopt(uv_udp_init_ex(loop.uv, handle(), flags)) { SocketError(status: $0, .udpBind, endpoint) }
        arrived.reserveCapacity(20)
        let status = open(endpoint)
        if status != 0 {
            beginClose()
            throw SocketError(status: status, .udpBind, endpoint)
        }
    }

    private func open(_ wanted: Endpoint) -> Int32 {
        guard let udp = handle(as: uv_udp_t.self), let raw else { return -EBADF }
        var status = SocketAddress.with(wanted) { uv_udp_bind(udp, $0, 0) }
        if status == 0 { status = uv_fileno(raw, &descriptor) }
        guard status == 0 else { return status }
        switch SocketAddress.read({ uv_udp_getsockname(udp, $0, $1) }) {
        case .success(let bound): endpoint = bound
        case .failure(let failure): return failure.code
        }
        var bytes = UDPSocket.kernelBufferBytes
        uv_recv_buffer_size(raw, &bytes)
        bytes = UDPSocket.kernelBufferBytes
        uv_send_buffer_size(raw, &bytes)
        return uv_udp_recv_start(
            udp,
            { handle, _, buffer in
                guard let socket = LoopHandle.object(handle, as: UDPSocket.self) else { return }
                let scratch = socket.loop.scratch
                buffer?.pointee = uv_buf_t(
                    base: scratch.baseAddress?.assumingMemoryBound(to: CChar.self), len: scratch.count)
            },
            { handle, count, buffer, address, flags in
                guard let socket = LoopHandle.object(handle, as: UDPSocket.self) else { return }
                socket.receive(count, buffer?.pointee.base, address, flags)
            })
    }

    /// Stops receiving and sending; what waits is dropped.
    public func close() {
        loop.preconditionOnLoop()
        waiting.removeAll()
        beginClose()
    }

    override func didClose() {
        onDatagram = nil
        onBatchEnd = nil
    }

    // MARK: Receiving

    /// libuv calls this for each datagram of a recvmmsg (MMSG_CHUNK), then once to give the buffer back (MMSG_FREE):
    /// the batch is delivered there. Without recvmmsg there is one call a datagram, with neither flag.
    private func receive(
        _ count: Int, _ base: UnsafeMutablePointer<CChar>?, _ address: UnsafePointer<sockaddr>?,
        _ flags: UInt32
    ) {
        if count < 0 {
            counters.receiveErrors += 1
        } else if let address, flags & UInt32(UV_UDP_PARTIAL.rawValue) == 0, let base,
            let source = SocketAddress.load(address)
        {
            arrived.append((UnsafeMutableRawBufferPointer(start: base, count: count), source))
        }
        if flags & UInt32(UV_UDP_MMSG_CHUNK.rawValue) == 0 { deliver() }
    }

    private func deliver() {
        if arrived.isEmpty { return }
        for (bytes, source) in arrived where isOpen {
            counters.received += 1
            onDatagram?(bytes, source)
        }
        arrived.removeAll(keepingCapacity: true)
        if isOpen { onBatchEnd?() }
    }

    // MARK: Sending

    /// Sends `count` datagrams out of `slab`, in order, in as few calls as there are 128s. The slab is free again on
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

    /// The batch leaves, or waits for the kernel behind those that wait already.
    private func transmit() {
        if isWaiting { return wait(from: 0) }
        let taken = push()
        if taken < batch.count {
            wait(from: taken)
            sendHeadWhenWritable()
        }
    }

    /// How many of the batch are done with, sent or refused; fewer than all when the kernel's buffer is full.
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
            default:
                // ENOBUFS, and whatever ICMP or the firewall say: it is about the first datagram alone.
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

    /// libuv says when the kernel takes datagrams again by finishing a request, so the oldest one goes as one.
    private func sendHeadWhenWritable() {
        while let head = waiting.popFirst() {
            let status = SocketAddress.with(head.endpoint, family: family) { submit(head.bytes, $0) }
            if status == 0 {
                isWaiting = true
                return
            }
            counters.sendErrors += 1
        }
    }

    /// The request and its bytes are one block, which the callback frees.
    private func submit(_ bytes: [UInt8], _ address: UnsafePointer<sockaddr>) -> Int32 {
        guard let udp = handle(as: uv_udp_t.self) else { return -EBADF }
        let block = RequestBlock<uv_udp_send_t>(copying: bytes)
        var buffer = block.buffer
        let status = uv_udp_send(block.request, udp, &buffer, 1, address) { request, status in
            guard let request else { return }
            let socket = LoopHandle.object(request.pointee.handle, as: UDPSocket.self)
            RequestBlock(request).free()
            socket?.headLeft(status)
        }
        if status != 0 { block.free() }
        return status
    }

    private func headLeft(_ status: Int32) {
        isWaiting = false
        guard isOpen else { return }
        if status == 0 { counters.sent += 1 } else { counters.sendErrors += 1 }
        while !waiting.isEmpty {
            let taken = pushWaiting(waiting.prefix(DatagramBatch.capacity))
            waiting.removeFirst(taken.done)
            if taken.isBlocked { return sendHeadWhenWritable() }
        }
    }

    /// The oldest of those that wait, through one slab as usual.
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
                // It was in a batch before, so it fits the family.
                _ = batch.append(
                    UnsafeRawBufferPointer(rebasing: raw[range]), to: datagram.endpoint, family: family)
            }
            let done = push()
            return (done, done < batch.count)
        }
    }
}
