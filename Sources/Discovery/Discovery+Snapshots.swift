import Cryptography
import Primitives
import Wire

/// Read-only views of the table.
extension Discovery {
    /// Contacts in the table.
    public var count: Int { table.count }
    /// How many `contacts` are: with the evicted ones that are still tried.
    public var contactCount: Int { table.count + lost.count }

    /// The addresses to join by; whether each has answered and was not evicted since; whether it ever answered, perhaps
    /// with a contact that this node can't use.
    public var bootstrapAddresses: [(address: PeerAddress, isReached: Bool, hasAnswered: Bool)] {
        bootstrap.map { ($0.address, $0.isReached, $0.hasAnswered) }
    }

    /// All contacts in the table, far buckets first, then evicted contacts that are still tried.
    public var contacts: [ContactSummary] {
        let current = table.entries.map { entry in
            summary(
                entry.contact, entry.nodeID, at: entry.endpoint, entry.failures == 0 ? .live : .suspect,
                entry.roundTrip, entry.lastHeard, inTable: true)
        }
        let gone = lost.map { lost in
            summary(
                lost.contact, NodeID(of: lost.key), at: lost.endpoint, .suspect, .zero, lost.lastHeard,
                inTable: false)
        }
        return current + gone
    }

    private func summary(
        _ contact: Verified<Contact>, _ id: NodeID, at endpoint: Endpoint, _ state: ContactSummary.State,
        _ roundTrip: Interval, _ lastHeard: MonotonicTime, inTable: Bool
    ) -> ContactSummary {
        let record = contact.record
        return ContactSummary(
            publicKey: record.publicKey, nodeID: id, endpoints: record.endpoints, address: endpoint,
            reachability: record.reachability, name: record.name, state: state, roundTrip: roundTrip,
            lastHeard: lastHeard, inTable: inTable)
    }

    /// The table's record of `key` and the address at which it answers us.
    public func contact(of key: PublicKey) -> (contact: Verified<Contact>, address: PeerAddress)? {
        table.entry(key).map { ($0.contact, $0.address) }
    }

    /// Whether `key` has left two probes in a row unanswered, or was evicted for that and is still tried.
    public func isGone(_ key: PublicKey) -> Bool {
        table.entry(key).map { $0.failures >= 2 } ?? lost.contains { $0.key == key }
    }

    /// The contacts known for longest, at most 64: what to save for a restart.
    public var anchors: [Verified<Contact>] {
        let oldest = table.entries.sorted { ($0.admitted, $0.key) < ($1.admitted, $1.key) }
        return oldest.prefix(parameters.anchorsMax).map(\.contact)
    }

    /// The endpoint at which enough peers see us; nil when they don't agree.
    public var observedEndpoint: Endpoint? { votes.winner }

    /// About what this value takes in memory, in bytes: itself and its table, without the contacts, which the
    /// simulator shares.
    public var footprint: (fixed: Int, table: Int) {
        let header = 32  // of an array's buffer
        let table = table.buckets.reduce(header + table.buckets.capacity * MemoryLayout<Bucket>.stride) {
            $0 + 2 * header + $1.entries.capacity * MemoryLayout<TableEntry>.stride
                + $1.replacements.capacity * MemoryLayout<Replacement>.stride
        }
        return (MemoryLayout<Discovery>.stride, table)
    }

    /// The first lookup of our own id has ended.
    public var isJoined: Bool { hasJoined }
}
