/// A set of 32-bit words, at four bytes each plus a third in reserve: for numbers, or for hashes where a rare
/// false member does no harm. Linear probing; entries are only removed all at once.
public struct WordSet: Sendable {
    /// A word plus one, or 0 if free. The word of all ones is stored as its neighbour.
    private var slots: [UInt32] = []
    public private(set) var count = 0

    public init() {}

    private func home(_ entry: UInt32) -> Int { Int((entry &* 0x9e37_79b9) >> 7) & (slots.count - 1) }
    private static func entry(_ word: UInt32) -> UInt32 { word == .max ? .max : word + 1 }

    public func contains(_ word: UInt32) -> Bool {
        guard !slots.isEmpty else { return false }
        let entry = Self.entry(word)
        var slot = home(entry)
        while slots[slot] != 0 {
            if slots[slot] == entry { return true }
            slot = (slot + 1) & (slots.count - 1)
        }
        return false
    }

    public mutating func insert(_ word: UInt32) {
        guard !contains(word) else { return }
        count += 1
        if count * 4 > slots.count * 3 {
            let old = slots
            slots = [UInt32](repeating: 0, count: max(16, 2 * old.count))
            for entry in old where entry != 0 { put(entry) }
        }
        put(Self.entry(word))
    }

    private mutating func put(_ entry: UInt32) {
        var slot = home(entry)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = entry
    }
}
