import Inference
import NodeConfiguration

extension ServeSettings {
    /// What this entry of `serve` says and its model server says otherwise, each with the fix. Both work; neither is what
    /// its owner expects.
    public func differences(from found: ModelDescription) -> [String] {
        mistakes(from: found) + unsoldSlots(of: found)
    }

    /// Slots of the server that aren't for sale, which may be meant so.
    private func unsoldSlots(of found: ModelDescription) -> [String] {
        guard backend != .managed, let most = found.slots, most > slots else { return [] }
        return [
            "`slots` is \(slots), and the server answers \(most) at a time: set slots to \(most) to sell all"
        ]
    }

    /// Those that nobody means.
    func mistakes(from found: ModelDescription) -> [String] {
        guard backend != .managed else { return [] }
        var differences: [String] = []
        // It answers whatever name it is asked for.
        if backend == .llamaCpp, ModelName(found.name).canonical != name.canonical {
            differences.append(
                "`model` is \(model), and the server has \(found.name): set model to that, or load the other there"
            )
        }
        if let most = found.slots, slots > most {
            differences.append(
                "`slots` is \(slots), and the server answers \(most) at a time, so that others wait there: set"
                    + " slots to \(most), or start it with --parallel \(slots)")
        }
        if let context, let most = found.context, !found.isContextAssumed, context > most {
            differences.append(
                "`context` is \(context), and the server has \(most) for one answer: \(most) is offered")
        }
        return differences
    }
}
