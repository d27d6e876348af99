// The tasks of a load, drawn before the run: the outcome of one task doesn't affect the draws for the next,
// so that different policies get the same tasks.

import Primitives

/// One task as it was drawn.
struct PlannedTask {
    /// When it is submitted; nil: after the previous task of its conversation.
    var at: Int64?
    var asker: Int
    /// Its index in `LoadPlan.models`.
    var model: Int
    /// The key of the answer's text.
    var key: UInt64
    var tokens: Int
    /// Tokens of the prompt, including all earlier turns; 0: the tokens of the request's own body.
    var promptTokens = 0
    var hangsUpAfter: Int64?
    /// The index of the conversation's next task, and the pause between the end of this one and that.
    var next: Int?
    var think: Int64 = 0
}

extension LoadPlan {
    /// Draws the load's tasks for the clients of `askers`.
    func draw(_ askers: [Int], _ random: inout SeededRandom) -> [PlannedTask] {
        guard !askers.isEmpty, !models.isEmpty else { return [] }
        var drawn: [PlannedTask] = []
        var since: Int64 = 0
        for index in 0..<tasks {
            let gap = gap(&random)
            since = curve?.advance(since, by: gap) ?? since + gap
            var task = PlannedTask(at: nil, asker: 0, model: 0, key: 0, tokens: 0)
            drawAnswer(&task, &random) { random in
                let asker =
                    arrivals == .even ? askers[index % askers.count] : askers[random.below(askers.count)]
                return (asker, random.below(models.count))
            }
            task.at = from.nanoseconds + since
            task.promptTokens = promptTokens
            drawn.append(task)
            if let conversation { drawTurns(conversation, &drawn, &random) }
        }
        return drawn
    }

    private func gap(_ random: inout SeededRandom) -> Int64 {
        let mean = every.nanoseconds
        switch arrivals {
        case .even: return mean
        // Uniform gaps give bursts and pauses.
        case .scattered: return mean > 0 ? Int64(random.below(2 * Int(mean))) : 0
        case .poisson: return random.exponential(mean)
        }
    }

    private func drawAnswer(
        _ task: inout PlannedTask, _ random: inout SeededRandom,
        _ place: (inout SeededRandom) -> (asker: Int, model: Int)
    ) {
        let hangsUp = hangUp.perMillion > 0 && random.below(1_000_000) < hangUp.perMillion
        task.tokens = lengths.draw(tokensMin, tokensMax, &random)
        (task.asker, task.model) = place(&random)
        task.key = random.next() >> 1
        let within = Int(max(1, hangUpWithin.nanoseconds))
        task.hangsUpAfter = hangsUp ? Int64(random.below(within)) : nil
    }

    /// The turns after the first, with the same asker and model.
    private func drawTurns(
        _ conversation: ConversationPlan, _ drawn: inout [PlannedTask], _ random: inout SeededRandom
    ) {
        let turns =
            conversation.turns.lowerBound + random.below(conversation.turns.count)
        for _ in 1..<max(1, turns) {
            let last = drawn[drawn.count - 1]
            drawn[drawn.count - 1].next = drawn.count
            drawn[drawn.count - 1].think = random.exponential(conversation.think.nanoseconds)
            var task = last
            task.at = nil
            drawAnswer(&task, &random) { _ in (last.asker, last.model) }
            task.promptTokens = last.promptTokens + last.tokens + max(1, promptTokens)
            drawn.append(task)
        }
    }
}
