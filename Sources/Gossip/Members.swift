import OrderedCollections
import Primitives

/// The nodes that gossip talks to: the contacts that discovery has probed. Bounded; a full table refuses newcomers,
/// since those in it are alive as far as discovery can tell.
///
/// Who is mailed and who is asked is decided here. Today: everybody, and anybody. With neighbourhoods (DESIGN §7)
/// `holders` becomes the 160 members nearest to the offer's point, and `partners` of a search those around two
/// random points of the topic.
struct Members: Sendable {
    struct Member: Sendable {
        var address: PeerAddress
        /// Its last request went unanswered: others are asked first, if there are enough.
        var isSilent = false
        /// Short ids that it listed, that we asked for and that have not come: not asked for again, and at most
        /// `awaitedMax`, so that who lists what it can't serve is soon asked for nothing. Half is forgiven each minute.
        var awaited: [UInt64] = []
    }

    private var table: OrderedDictionary<PublicKey, Member> = [:]

    var count: Int { table.count }
    subscript(key: PublicKey) -> Member? { table[key] }

    /// False when the table is full.
    mutating func join(_ address: PeerAddress) -> Bool {
        if table[address.key] == nil, table.count >= GossipLimits.membersMax { return false }
        table[address.key, default: Member(address: address)].address = address
        table[address.key]?.isSilent = false
        return true
    }

    mutating func leave(_ key: PublicKey) { table[key] = nil }
    mutating func heard(_ key: PublicKey) { table[key]?.isSilent = false }
    mutating func silent(_ key: PublicKey) { table[key]?.isSilent = true }

    mutating func asked(_ key: PublicKey, for ids: [UInt64]) { table[key]?.awaited += ids }
    mutating func served(_ key: PublicKey, _ id: UInt64) {
        if let at = table[key]?.awaited.firstIndex(of: id) { table[key]?.awaited.remove(at: at) }
    }
    mutating func forgive() {
        for index in table.values.indices {
            let count = table.values[index].awaited.count
            table.values[index].awaited.removeFirst((count + 1) / 2)
        }
    }

    /// Those who should hold the offer `id`.
    func holders(of id: UInt64) -> [PeerAddress] { table.values.map(\.address) }

    /// Up to `count` random members, those that answer first.
    func partners(
        _ count: Int, except excluded: [PublicKey] = [], random: inout SeededRandom
    ) -> [PeerAddress] {
        var answering: [PeerAddress] = []
        var silent: [PeerAddress] = []
        for member in table.values where !excluded.contains(member.address.key) {
            if member.isSilent { silent.append(member.address) } else { answering.append(member.address) }
        }
        let chosen = random.sample(count, of: answering)
        return chosen + random.sample(count - chosen.count, of: silent)
    }

    /// One member, silent or not: how two halves of a parted mesh find each other again.
    func anyone(random: inout SeededRandom) -> PeerAddress? {
        table.isEmpty ? nil : table.values[random.below(table.count)].address
    }
}
