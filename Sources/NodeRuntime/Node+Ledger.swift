import Cryptography
import MeshDocuments
import Primitives
import Store
import UVLoop

// Who owes what, and what was sold over time.
extension Node {
    /// - Parameter since: the first UTC day (since 1970) of the receipts and sales that are summed; nil: all that are kept.
    public func accounts(since day: Int64?) async -> LedgerDocument {
        let from = day.map { CivilDay.start($0) } ?? WallTime(milliseconds: 0)
        // Those of the last half second. They are stored again in their turn, which changes nothing.
        try? await ledger.keep(unsaved.batch(), at: SystemClock.wall)
        let receipts = (try? await ledger.receipts(since: from)) ?? [:]
        var all = (try? await ledger.sales()) ?? Sales()
        let kept = (try? await ledger.balances().byPeer) ?? [:]
        all += sales.pending
        var owed: [PublicKey: Money] = [:]
        for key in Set(kept.keys).union(receipts.keys) { owed[key] = balances[key] }
        let labels = Dictionary(
            peer.contacts.map { ($0.publicKey, $0.name) }, uniquingKeysWith: { first, _ in first })
        return await Self.ledger(
            owed, receipts, all, since: day, total: (balances.owedToOwner, balances.owedByOwner)
        ) { [names] key in
            names.name(of: key).map { ($0, true) } ?? (labels[key] ?? "", false)
        }
    }

    /// The most peers and sales in one document.
    private static let rowsMax = 10_000

    /// Off the loop: there may be thousands.
    @concurrent private static func ledger(
        _ owed: [PublicKey: Money], _ receipts: [PublicKey: PeerReceipts], _ sales: Sales, since: Int64?,
        total: (owed: Money, owing: Money), name: @Sendable (PublicKey) -> (text: String, isPinned: Bool)
    ) async -> LedgerDocument {
        let nobody = PublicKey(.zero)
        let ranked = owed.sorted { ($0.value.magnitude, $1.key) > ($1.value.magnitude, $0.key) }
        let peers = ranked.prefix(rowsMax).map { key, amount in
            let (name, receipts) = (name(key), receipts[key] ?? PeerReceipts())
            return LedgerDocument.Peer(
                nodeID: key == nobody ? nil : NodeID(of: key).description,
                publicKey: key == nobody ? nil : key.description, name: name.text, isPinned: name.isPinned,
                owed: max(.zero, amount), owing: max(.zero, -amount), sold: receipts.sold,
                earned: receipts.earned, bought: receipts.bought, spent: receipts.spent,
                lastReceipt: receipts.lastAt.milliseconds > 0
                    ? Timestamp.text(milliseconds: receipts.lastAt.milliseconds) : nil)
        }
        let rows = sales.sales.filter { since == nil || $0.key.day >= since ?? 0 }.sorted {
            ($0.key.day, $0.value.earned, $1.key.model, $1.key.buyer)
                > ($1.key.day, $1.value.earned, $0.key.model, $0.key.buyer)
        }
        return LedgerDocument(
            asOf: Timestamp.text(milliseconds: SystemClock.wall.milliseconds), since: since.map(text),
            owed: total.owed, owing: total.owing, peers: Array(peers),
            sales: rows.prefix(rowsMax).map { key, sums in
                let isNobody = key.buyer == nobody
                let name = isNobody ? ("", false) : name(key.buyer)
                return LedgerDocument.Sale(
                    day: key.day == 0 ? nil : text(key.day), model: key.model,
                    nodeID: isNobody ? nil : NodeID(of: key.buyer).description, name: name.0,
                    isPinned: name.1, sums: sums.document)
            }, leftOut: max(0, owed.count - rowsMax) + max(0, rows.count - rowsMax))
    }

    private static func text(_ day: Int64) -> String {
        String(Timestamp.text(milliseconds: CivilDay.start(day).milliseconds).prefix(10))
    }
}
