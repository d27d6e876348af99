import Primitives
import Wire

/// The nodes that gossip exchanges offers with: the contacts that discovery has probed. Bounded; a full table
/// refuses newcomers, since its members are alive as far as discovery can tell.
///
/// Decides which members are mailed and which are asked: currently all, and any. With neighbourhoods,
/// `holders` becomes the 160 members closest to the offer's point, and `partners` of a search those around
/// two random points of the topic.
struct Members: Sendable {
    struct Member: Sendable {
        enum Place: Sendable {
            case stated(ContactAddress)
            /// Found as a provider, so there is no contact.
            case other(Shared<PeerAddress>)
        }

        var place: Place
        var address: PeerAddress {
            switch place {
            case .stated(let stated): stated.address
            case .other(let address): address.value
            }
        }
        /// Its last request went unanswered: others are asked first, if there are enough.
        var isSilent = false
        /// It has answered a question of ours at its address: Discovery's before it joined, or one since.
        var hasAnswered = false
        /// A part of the key, compared before the place itself, which would cost a cache miss.
        let mark: UInt32
        /// Short ids that it listed, that we requested and that have not come. They are not requested again,
        /// and there are at most `awaitedMax`, so that a member that lists what it can't serve is soon asked
        /// for nothing. Half is forgiven each minute.
        var awaited: [UInt64] = []
    }

    /// In an arbitrary but repeatable order.
    private var table: [Member] = []
    private var places = KeyPlaces()

    var count: Int { table.count }
    subscript(key: PublicKey) -> Member? { place(of: key).map { table[$0] } }
    func contains(_ key: PublicKey) -> Bool { place(of: key) != nil }

    /// Returns false when the table is full.
    mutating func join(_ address: PeerAddress, _ contact: Verified<Contact>?) -> Bool {
        let whereabouts =
            contact.flatMap { ContactAddress($0, at: address.endpoint) }.map(Member.Place.stated)
            ?? .other(Shared(address))
        if let place = place(of: address.key) {
            table[place].hasAnswered =
                contact != nil || table[place].hasAnswered && table[place].address == address
            table[place].place = whereabouts
            table[place].isSilent = false
            return true
        }
        guard table.count < GossipLimits.membersMax else { return false }
        places.insert(address.key.value, at: table.count)
        table.appendSparingly(
            Member(place: whereabouts, hasAnswered: contact != nil, mark: Self.mark(address.key)))
        return true
    }

    mutating func leave(_ key: PublicKey) {
        guard let place = place(of: key) else { return }
        places.remove(key.value, at: place)
        let last = table.removeLast()
        guard place < table.count else { return }
        places.remove(last.address.key.value, at: table.count)
        places.insert(last.address.key.value, at: place)
        table[place] = last
    }

    mutating func heard(_ key: PublicKey) {
        if let place = place(of: key), table[place].isSilent { table[place].isSilent = false }
    }
    mutating func answered(_ key: PublicKey) {
        guard let place = place(of: key) else { return }
        table[place].isSilent = false
        table[place].hasAnswered = true
    }
    mutating func silent(_ key: PublicKey) {
        if let place = place(of: key) { table[place].isSilent = true }
    }

    mutating func asked(_ key: PublicKey, for ids: [UInt64]) {
        if !ids.isEmpty, let place = place(of: key) { table[place].awaited += ids }
    }
    mutating func served(_ key: PublicKey, _ id: UInt64) {
        guard let place = place(of: key), let at = table[place].awaited.firstIndex(of: id) else { return }
        table[place].awaited.remove(at: at)
    }
    mutating func forgive() {
        for place in table.indices where !table[place].awaited.isEmpty {
            let count = table[place].awaited.count
            table[place].awaited.removeFirst((count + 1) / 2)
            if table[place].awaited.isEmpty { table[place].awaited = [] }
        }
    }

    /// The members that should hold the offer `id`.
    func holders(of id: UInt64) -> [PeerAddress] { table.map(\.address) }

    /// Up to `count` random members, preferring those that answer.
    func partners(
        _ count: Int, except excluded: [PublicKey] = [], random: inout SeededRandom
    ) -> [PeerAddress] {
        var answering: [Int] = []
        var silent: [Int] = []
        let without = excluded.compactMap { place(of: $0) }
        for place in table.indices where !without.contains(place) {
            if table[place].isSilent { silent.append(place) } else { answering.append(place) }
        }
        let chosen = random.sample(count, of: answering)
        return (chosen + random.sample(count - chosen.count, of: silent)).map { table[$0].address }
    }

    /// One member, silent or not: this is how two halves of a divided mesh reunite.
    func anyone(random: inout SeededRandom) -> PeerAddress? {
        table.isEmpty ? nil : table[random.below(table.count)].address
    }

    private func place(of key: PublicKey) -> Int? {
        var next = places.first(key.value)
        while let candidate = next {
            let member = candidate.place
            if table[member].mark == Self.mark(key), table[member].address.key == key { return member }
            next = places.next(key.value, after: candidate)
        }
        return nil
    }

    private static func mark(_ key: PublicKey) -> UInt32 { UInt32(truncatingIfNeeded: key.word) }
}
