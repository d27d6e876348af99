import Credit
import Foundation
import Market
import NodeConfiguration
import PeerCore
import Primitives
import Store
import Wire

// What must outlive the process. The loop never waits for the disk: it hands values to the ledger's actor.
extension Node {
    func keep(_ receipt: Verified<Receipt>) {
        balances.add(receipt.record)
        if pendingReceipts.isEmpty { receiptTimer?.arm(after: .milliseconds(500)) }
        pendingReceipts[ReceiptKey(receipt.record)] = receipt
    }

    func saveReceipts() {
        guard !pendingReceipts.isEmpty else { return }
        let receipts = Array(pendingReceipts.values)
        pendingReceipts.removeAll()
        Task { [ledger, log] in
            do { try await ledger.keep(receipts) } catch {
                log.error("the database failed to store \(receipts.count) receipts: \(error)")
            }
        }
    }

    func keepSequence(_ model: String, _ sequence: UInt64) {
        Task { [ledger, log] in
            do { try await ledger.set("sequence/\(model)", Array(String(sequence).utf8)) } catch {
                log.error("the database failed to store a sequence: \(error)")
            }
        }
    }

    func saveEverything() async {
        let receipts = Array(pendingReceipts.values)
        pendingReceipts.removeAll()
        let anchors = peer.anchors
        do {
            try await ledger.keep(receipts)
            try await ledger.saveAnchors(anchors.map(\.signed), keys: anchors.map(\.record.publicKey))
        } catch {
            log.error("the database failed to store the node's state: \(error)")
        }
    }
}

extension Ledger {
    /// What a node with these settings knew when it last stopped.
    public func memory(for settings: NodeSettings, node: PublicKey) throws -> Node.Memory {
        var memory = Node.Memory()
        memory.anchors = try anchors()
        for serve in settings.serve {
            let model = serve.soldAs
            if let bytes = try setting("sequence/\(model)"),
                let sequence = UInt64(String(decoding: bytes, as: UTF8.self))
            {
                memory.sequences.append((model, sequence))
            }
            if let bytes = try setting(serve.memoryName),
                let record = try? JSONDecoder().decode(SpeedRecord.self, from: Data(bytes))
            {
                memory.speeds[serve.memoryName] = record
            }
        }
        let kept = try balances(of: node)
        memory.balances = Balances(of: node, byPeer: kept.byPeer, earned: kept.earned, spent: kept.spent)
        return memory
    }
}
