import Sessions

/// Memory for datagrams in flight: slots of one size in blocks, reused; none is allocated per datagram. The receiver
/// opens its datagram in place.
final class DatagramPool {
    private static let slotBytes = 1_216
    private static let slotsPerBlock = 1_024
    private var blocks: [UnsafeMutableRawPointer] = []
    private var free: [Int32] = []

    deinit { for block in blocks { block.deallocate() } }

    var inUse: Int { blocks.count * Self.slotsPerBlock - free.count }

    /// A slot with a copy of `bytes`, which are at most 1,200.
    func store(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        precondition(bytes.count <= Self.slotBytes, "a datagram of \(bytes.count) bytes")
        if free.isEmpty { grow() }
        let slot = free.removeLast()
        if let source = bytes.baseAddress { address(slot).copyMemory(from: source, byteCount: bytes.count) }
        return slot
    }

    func bytes(_ slot: Int32, _ length: Int32) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: address(slot), count: Int(length))
    }

    func release(_ slot: Int32) { free.append(slot) }

    private func address(_ slot: Int32) -> UnsafeMutableRawPointer {
        blocks[Int(slot) / Self.slotsPerBlock] + Int(slot) % Self.slotsPerBlock * Self.slotBytes
    }

    private func grow() {
        let first = Int32(blocks.count * Self.slotsPerBlock)
        blocks.append(.allocate(byteCount: Self.slotsPerBlock * Self.slotBytes, alignment: 16))
        free.append(contentsOf: (first..<first + Int32(Self.slotsPerBlock)).reversed())
    }
}
