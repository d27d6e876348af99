import Cryptography
@preconcurrency import Dispatch
import FoundationEssentials
import Logging
import MeshDocuments
import Primitives
import Store
import UVLoop

/// Why nothing was paid, and the fix.
public struct SettleRefusal: Error, Sendable {
    public var problem: String
    public var fix: String
    /// The command was run, and failed.
    public var wasRun = false

    public init(problem: String, fix: String, wasRun: Bool = false) {
        (self.problem, self.fix, self.wasRun) = (problem, fix, wasRun)
    }
}

// Settlement is a hook and not a rail: a program of the operator's pays, by whatever the two operators agreed on.
extension Node {
    /// What the command reads on its standard input.
    private struct Order: Encodable {
        struct Party: Encodable {
            var node_id: String
            var public_key: String
            var name: String
        }
        var version = 1
        /// The same when a tranche is tried again: whoever pays by it pays once.
        var id: String
        /// `threshold` or `asked`.
        var reason: String
        var time: String
        var payer: Party
        var payee: Party
        var amount_ucr: Money
        /// The same in credits.
        var amount: String
        /// All that is owed, this amount included, and what was ordered before and isn't confirmed.
        var owing_ucr: Money
        var unconfirmed_ucr: Money
    }

    static let settledName = "settle/"

    /// After a receipt that this node signed.
    func settleIfDue(_ peer: PublicKey) {
        guard let threshold = current.settle.threshold, !current.settle.command.isEmpty,
            let amount = settling.begin(peer, owing: owing(peer), threshold: threshold, SystemClock.monotonic)
        else { return }
        Task { try? await self.pay(peer, amount, reason: "threshold") }
    }

    private func owing(_ peer: PublicKey) -> Money { max(.zero, -balances[peer]) }

    public func settle(with text: String) async throws(SettleRefusal) -> SettleDocument {
        guard !current.settle.command.isEmpty else {
            throw SettleRefusal(
                problem: "this node pays by no command",
                fix:
                    "name the program that pays in its file, `settle: {command: [/usr/local/bin/pay]}`, and send it"
                    + " SIGHUP")
        }
        guard let peer = await creditor(text) else {
            throw SettleRefusal(
                problem: "\(text.prefix(60)) is no node that this one knows",
                fix:
                    "give a public key, an id from `starling ledger` (\(NodeID.shortCount) characters or more), or a"
                    + " name of yours")
        }
        var paid = Money.zero
        if let amount = settling.begin(peer, owing: owing(peer), threshold: nil, SystemClock.monotonic) {
            try await pay(peer, amount, reason: "asked")
            paid = amount
        }
        return SettleDocument(
            nodeID: NodeID(of: peer).description, name: name(of: peer, label: "").text, paid: paid,
            unconfirmed: settling.paid(peer))
    }

    /// A node by its key, id, the beginning of that, or its pinned name; also one that was last seen long ago.
    private func creditor(_ text: String) async -> PublicKey? {
        if case .node(let key)? = await resolve(nodes: [text]).first { return key }
        let known = (try? await ledger.balances().byPeer.keys.map { $0 }) ?? []
        let start = text.lowercased()
        guard start.utf8.count >= NodeID.shortCount else { return nil }
        let found = known.filter { $0.description == start || NodeID(of: $0).description.hasPrefix(start) }
        return found.count == 1 ? found.first : nil
    }

    /// Has one tranche paid. It is stored before the command runs, and again when it has.
    private func pay(_ peer: PublicKey, _ amount: Money, reason: String) async throws(SettleRefusal) {
        let before = settling.paid(peer)
        guard await storeOrders(peer) else {
            settling.failed(peer, SystemClock.monotonic)
            throw SettleRefusal(
                problem: "the database takes nothing, so that it might be paid twice",
                fix: databaseProblem ?? "see the log", wasRun: true)
        }
        func party(_ key: PublicKey, _ name: String) -> Order.Party {
            Order.Party(node_id: NodeID(of: key).description, public_key: key.description, name: name)
        }
        let order = Order(
            id: "\(NodeID(of: identity.publicKey).short)-\(NodeID(of: peer).short)-\(before.microCredits)",
            reason: reason, time: Timestamp.text(milliseconds: SystemClock.wall.milliseconds),
            payer: party(identity.publicKey, settings.name),
            payee: party(peer, name(of: peer, label: "").text),
            amount_ucr: amount, amount: MicroCredits.text(amount.microCredits), owing_ucr: owing(peer),
            unconfirmed_ucr: before)
        let hook = Hook(
            command: current.settle.command, timeout: .nanoseconds(current.settle.timeout))
        let encoded = try? JSONEncoder().encode(order)
        let input = Array(encoded ?? Data()) + [0x0A]
        let failure = await withCheckedContinuation {
            (continuation: CheckedContinuation<Hook.Failure?, Never>) in
            DispatchQueue.global().async {
                do throws(Hook.Failure) {
                    try hook.run(input)
                    continuation.resume(returning: nil)
                } catch { continuation.resume(returning: error) }
            }
        }
        var details: Logger.Metadata = [
            "payee": "\(NodeID(of: peer).short)", "amount_ucr": "\(amount)", "order": "\(order.id)",
        ]
        if let failure {
            settling.failed(peer, SystemClock.monotonic)
            let problem = Printable.line("the settlement command \(failure.problem)")
            let fix =
                "correct what it says, or `settle.command`, then `starling settle \(NodeID(of: peer).short)`: the order"
                + " is the same, with the same id"
            details["fix"] = "\(fix)"
            log.error("\(problem)", metadata: details)
            throw SettleRefusal(problem: problem, fix: fix, wasRun: true)
        }
        settling.succeeded(peer)
        log.notice("the settlement command has paid", metadata: details)
        await storeOrders(peer)
    }

    @discardableResult
    private func storeOrders(_ peer: PublicKey) async -> Bool {
        guard let orders = settling.orders[peer] else { return true }
        do {
            let text = "\(orders.paid) \(orders.open)"
            try await ledger.set(Self.settledName + peer.description, Array(text.utf8))
            return true
        } catch {
            complain("the database failed to store what was paid", error)
            return false
        }
    }
}

extension Ledger {
    /// What the settlement command was asked to pay, by peer.
    func settled() throws -> [PublicKey: Settling.Orders] {
        var kept: [PublicKey: Settling.Orders] = [:]
        for (name, value) in try settings(beginning: Node.settledName) {
            let amounts = String(decoding: value, as: UTF8.self).split(separator: " ").compactMap {
                Int64($0)
            }
            guard let key = PublicKey(name.dropFirst(Node.settledName.count)), amounts.count == 2 else {
                continue
            }
            kept[key] = Settling.Orders(
                paid: Money(microCredits: amounts[0]), open: Money(microCredits: amounts[1]))
        }
        return kept
    }
}
