import ArgumentParser
import FoundationEssentials
import MeshDocuments
import OpenAIFormat
import Primitives

struct QuoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quote", abstract: "What sellers would answer for now: an auction that nobody wins.",
        discussion: """
            The node asks sellers as for a task, and shows their bids, best first. \
            They hold nothing for it: a task a moment later may get others.

              starling quote wren-m --prompt "What can you do?"
              starling quote wren-m --tokens-in 2000 --max-tokens 500 --json
            """)

    @OptionGroup var door: DoorOptions
    @Argument(help: "The model (see `starling offers`).") var model: String
    @Option(help: ArgumentHelp("The question; sellers don't get it.", valueName: "TEXT")) var prompt: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("How many tokens the question has, instead of --prompt.", valueName: "N"))
    var tokensIn: Int?
    @Option(parsing: .unconditional, help: ArgumentHelp("The most tokens to answer with.", valueName: "N"))
    var maxTokens: Int?

    func validate() throws {
        if prompt != nil, tokensIn != nil {
            throw ValidationError("give --prompt or --tokens-in, not both")
        }
        for (name, number) in [("--tokens-in", tokensIn), ("--max-tokens", maxTokens)] {
            if let number, number < 1 { throw ValidationError("\(name) is \(number): give at least 1") }
        }
    }

    func run() async throws {
        try await reporting {
            var body: [JSONTree.Member] = [
                .init("model", .string(model)),
                .init("messages", [["role": "user", "content": .string(prompt ?? "Hello")]]),
            ]
            if let maxTokens { body.append(.init("max_tokens", JSONTree(maxTokens))) }
            let query = tokensIn.map { "?tokens_in=\($0)" } ?? ""
            // With the waits for sellers that don't answer.
            let response = try door.client().post(
                "/mesh/quote" + query, json: JSONTree.object(body).bytes, timeout: 60)
            guard response.status == 200 else { throw door.refused(response) }
            guard let quote = try door.read(response, as: QuoteDocument.self) else { return }
            emit(AuctionText.quote(quote))
        }
    }
}
