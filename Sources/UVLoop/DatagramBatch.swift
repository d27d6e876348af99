// Many datagrams in one system call: recvmmsg(2), and sendmmsg(2), which libuv 1.44 offers only with a
// request object per datagram.

import CLibuv
import Glibc
import Primitives

/// One datagram to send: a byte range of a slab, and its destination.
public struct DatagramSlot: Hashable, Sendable {
    public var offset: Int
    public var length: Int
    public var endpoint: Endpoint

    public init(offset: Int, length: Int, endpoint: Endpoint) {
        self.offset = offset
        self.length = length
        self.endpoint = endpoint
    }
}

/// The arrays that sendmmsg(2) reads: messages, vectors, addresses. Allocated once per socket.
final class DatagramBatch {
    /// Datagrams in one call. More gains nothing: at this size the fixed cost of the call is already
    /// negligible.
    static let capacity = 128
    private static let addressStride = 32

    let messages: UnsafeMutablePointer<cuv_message>
    private let vectors: UnsafeMutablePointer<iovec>
    private let addresses: UnsafeMutableRawPointer
    private(set) var endpoints: [Endpoint] = []

    init() {
        messages = .allocate(capacity: DatagramBatch.capacity)
        messages.initialize(repeating: cuv_message(), count: DatagramBatch.capacity)
        vectors = .allocate(capacity: DatagramBatch.capacity)
        vectors.initialize(repeating: iovec(), count: DatagramBatch.capacity)
        addresses = .allocate(byteCount: DatagramBatch.capacity * DatagramBatch.addressStride, alignment: 16)
        for i in 0..<DatagramBatch.capacity {
            messages[i].header.msg_iov = vectors + i
            messages[i].header.msg_iovlen = 1
            messages[i].header.msg_name = addresses + i * DatagramBatch.addressStride
        }
    }

    deinit {
        messages.deallocate()
        vectors.deallocate()
        addresses.deallocate()
    }

    var count: Int { endpoints.count }
    var isFull: Bool { count == DatagramBatch.capacity }

    func removeAll() { endpoints.removeAll(keepingCapacity: true) }

    /// Returns false when a socket of `family` can't send to `endpoint`. The bytes must stay in place until
    /// sent.
    func append(_ bytes: UnsafeRawBufferPointer, to endpoint: Endpoint, family: Int32) -> Bool {
        let address = addresses + count * DatagramBatch.addressStride
        guard endpoint.port != 0, let length = SocketAddress.store(endpoint, family: family, into: address)
        else { return false }
        let index = count
        vectors[index].iov_base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        vectors[index].iov_len = bytes.count
        messages[index].header.msg_namelen = length
        endpoints.append(endpoint)
        return true
    }

    func bytes(_ i: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: vectors[i].iov_base, count: vectors[i].iov_len)
    }
}

/// What recvmmsg(2) fills: the datagrams, in a buffer that the owner provides, and their senders.
final class ReceiveBatch {
    /// Datagrams in one call. Replies leave only after the whole batch is handled (3 µs a datagram), so a
    /// larger batch would delay an honest sender's reply in a flood. A smaller one spreads the fixed cost of
    /// the call over too few datagrams.
    static let capacity = 16
    static let slotBytes = 2_048
    private static let addressStride = 32

    private let messages: UnsafeMutablePointer<cuv_message>
    private let vectors: UnsafeMutablePointer<iovec>
    private let addresses: UnsafeMutableRawPointer
    private let slots: UnsafeMutableRawBufferPointer

    /// `buffer` must outlive the batch. The batch writes to it in `receive`; its bytes are valid until the
    /// next `receive`.
    init(into buffer: UnsafeMutableRawBufferPointer) {
        precondition(buffer.count >= Self.capacity * Self.slotBytes, "a batch needs a larger buffer")
        slots = buffer
        messages = .allocate(capacity: Self.capacity)
        messages.initialize(repeating: cuv_message(), count: Self.capacity)
        vectors = .allocate(capacity: Self.capacity)
        addresses = .allocate(byteCount: Self.capacity * Self.addressStride, alignment: 16)
        for index in 0..<Self.capacity {
            vectors[index] = iovec(
                iov_base: buffer.baseAddress.map { $0 + index * Self.slotBytes }, iov_len: Self.slotBytes)
            messages[index].header.msg_iov = vectors + index
            messages[index].header.msg_iovlen = 1
            messages[index].header.msg_name = addresses + index * Self.addressStride
            messages[index].header.msg_namelen = socklen_t(Self.addressStride)
        }
    }

    deinit {
        messages.deallocate()
        vectors.deallocate()
        addresses.deallocate()
    }

    /// Returns the number of datagrams received, or a negative errno.
    func receive(_ descriptor: Int32) -> Int32 {
        let count = cuv_recvmmsg(descriptor, messages, UInt32(Self.capacity), Int32(MSG_DONTWAIT), nil)
        return count < 0 ? -errno : count
    }

    func bytes(_ index: Int) -> UnsafeMutableRawBufferPointer {
        let start = index * Self.slotBytes
        let count = min(Int(messages[index].length), Self.slotBytes)
        return UnsafeMutableRawBufferPointer(rebasing: slots[start..<start + count])
    }

    /// The sender of a datagram, or nil when its address is of an unknown family. Call once per datagram.
    func source(_ index: Int) -> Endpoint? {
        // The kernel overwrote the capacity of the address buffer with the address's length: restore it for
        // the next call.
        messages[index].header.msg_namelen = socklen_t(Self.addressStride)
        return SocketAddress.load(
            (addresses + index * Self.addressStride).assumingMemoryBound(to: sockaddr.self))
    }
}
