// Many datagrams in one system call: sendmmsg(2), which libuv 1.44 doesn't offer without a request for each, and
// recvmmsg(2).

import CLibuv
import Glibc
import Primitives

/// One datagram to send: which bytes of a slab, and to whom.
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

/// The arrays that the kernel reads: messages, vectors, addresses. One for a socket, made once.
final class DatagramBatch {
    /// Datagrams in one call. More gains nothing: the call's fixed cost is shared by then.
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

    /// False when a socket of `family` can't send there. The bytes must stay where they are until sent.
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

/// What recvmmsg(2) fills: slots for datagrams in a buffer of its owner, and their senders.
final class ReceiveBatch {
    /// Datagrams in one call. Their answers leave when all have been looked at, so that more would delay an honest one in a
    /// flood (3 µs each); fewer would share the call among too few.
    static let capacity = 16
    static let slotBytes = 2_048
    private static let addressStride = 32

    private let messages: UnsafeMutablePointer<cuv_message>
    private let vectors: UnsafeMutablePointer<iovec>
    private let addresses: UnsafeMutableRawPointer
    private let slots: UnsafeMutableRawBufferPointer

    /// `buffer` must outlive the batch, and is used only from `receive` until its datagrams have been looked at.
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

    /// How many datagrams there were, or a negative errno.
    func receive(_ descriptor: Int32) -> Int32 {
        let count = cuv_recvmmsg(descriptor, messages, UInt32(Self.capacity), Int32(MSG_DONTWAIT), nil)
        return count < 0 ? -errno : count
    }

    func bytes(_ index: Int) -> UnsafeMutableRawBufferPointer {
        let start = index * Self.slotBytes
        let count = min(Int(messages[index].length), Self.slotBytes)
        return UnsafeMutableRawBufferPointer(rebasing: slots[start..<start + count])
    }

    /// The sender of a datagram; nil when it has no address that we know. Asked once for each.
    func source(_ index: Int) -> Endpoint? {
        // The kernel wrote the address's length where it reads the room for the next one.
        messages[index].header.msg_namelen = socklen_t(Self.addressStride)
        return SocketAddress.load(
            (addresses + index * Self.addressStride).assumingMemoryBound(to: sockaddr.self))
    }
}
