// `POST /mesh/quote`: what sellers would do a chat request for. Read, checked and explained like a task.

import Market
import NodeRuntime
import OpenAIFormat

extension GatewayResponder {
    /// The most that `tokens_in` can say, as in a call for bids.
    private static let tokensMax = 100_000_000

    func quote(_ request: Request) async -> Response {
        guard let read = await read(.chat, request) else { return Reply.gone }
        let client: ClientRequest
        var asked: TaskRequest
        do throws(ErrorBody) {
            client = try read.get()
            asked = try await taskRequest(client, request)
            if let tokens = try tokensIn(request) { asked.tokensIn = tokens }
        } catch {
            return Reply.error(error)
        }
        let caller = admission.caller(of: request) ?? .owner
        if let refusal = refusal(of: [asked.model] + asked.fallbackModels, to: caller) { return refusal }
        do throws(TaskFailure) {
            return document(try await node.quote(asked))
        } catch {
            let catalogue = error.reason == .modelNotFound ? await node.catalogue() : []
            let explained = ExplainedFailure(
                error, task: nil, kind: .chat, model: client.model,
                isOneOfSeveral: !asked.fallbackModels.isEmpty, catalogue: catalogue)
            return Reply.error(explained.body, status: explained.status, retryAfter: explained.retryAfter)
        }
    }

    /// What the client says of its prompt instead of sending it.
    private func tokensIn(_ request: Request) throws(ErrorBody) -> UInt32? {
        guard let text = request.parameter("tokens_in") else { return nil }
        guard let tokens = Int(text), (1...Self.tokensMax).contains(tokens) else {
            throw .invalid(
                "`tokens_in` in the query is \(text.prefix(40)): give a number from 1 to \(Self.tokensMax).",
                param: "tokens_in", code: "invalid_value")
        }
        return UInt32(tokens)
    }
}
