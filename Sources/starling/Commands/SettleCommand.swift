import ArgumentParser
import MeshDocuments
import OpenAIFormat
import Primitives

struct SettleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settle", abstract: "Have your node pay what it owes to another, by settle.command.",
        discussion: """
            Runs the program that `settle.command` of the node's file names, with one \
            JSON document on its standard input: whom to pay, how much, and an id \
            that stays the same when a failed payment is tried again. What it was asked to \
            pay before is not paid twice. The other node's operator confirms.

              starling settle ada
            """)
    @OptionGroup var door: DoorOptions
    @Argument(help: "The node: a public key, an id, or a name of yours.") var node: String

    func run() async throws {
        try await reporting {
            let body = JSONTree.object([.init("node", .string(node))])
            // As long as the command may take.
            let response = try door.client().post("/mesh/settle", json: body.bytes, timeout: 3_700)
            guard response.status == 200 else { throw door.refused(response) }
            guard let settled = try door.read(response, as: SettleDocument.self) else { return }
            let whom = Printable.line(settled.name.isEmpty ? String(settled.nodeID.prefix(12)) : settled.name)
            let (paid, open) = (settled.paid.microCredits, settled.unconfirmed.microCredits)
            remark(
                paid == 0
                    ? "nothing is due to \(whom)"
                    : "paid \(MicroCredits.text(paid)) cr to \(whom); \(MicroCredits.text(open)) cr not confirmed by it"
            )
        }
    }
}
