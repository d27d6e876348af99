import Primitives

/// Every number of the market: its default, its formula or source, and what breaks when it is wrong.
public struct MarketParameters: Sendable {
    public init() {}

    // MARK: - Choosing and calling

    /// Sellers asked in one auction. 8: seven drawn by weight and a newcomer came within 6 % of an omniscient
    /// scheduler. Fewer: worse winners; more: slots held in vain, and bursts of answers.
    public var candidatesMax = 8
    /// The fast path calls one seller alone: one with a session that finished `provenTasks`, has no setbacks, and whose last
    /// bid came within `soleAge` and stated no queue. Its expected score must be within `soleMargin` percent of the best, and
    /// one task in `soleTasks` + 1 is an ordinary auction. A longer age: calls to sellers without a free slot, each of which
    /// costs a round trip; a larger margin or more tasks: worse winners, and newcomers wait.
    public var soleAge = Interval.seconds(10)
    public var soleMargin: UInt64 = 5
    public var soleTasks = 7
    /// Sellers whose queues are too long for a task's deadline after which it is refused. Fewer: refusals while others have
    /// room; more: an overloaded market spends its time with declines.
    public var lateMax = 32
    /// Bounds of the time to wait for bids, which is 2 × the slowest candidate's smoothed reply time + `bidWaitMargin`.
    /// Below 20 ms a busy machine's scheduler alone makes bids late; above 120 ms a chat user feels the wait.
    public var bidWaitMin = Interval.milliseconds(20)
    public var bidWaitMax = Interval.milliseconds(120)
    public var bidWaitMargin = Interval.milliseconds(10)
    /// When that time is over without a single bid while calls are unanswered, the first bid within this long of the call
    /// wins. Long enough for two round trips around the world, or first contacts never sell.
    public var noBidPatience = Interval.milliseconds(1_000)
    /// How long a bid may be asked to hold its slot; the call asks for twice the time to wait for bids. Too long: a buyer that
    /// never awards blocks a seller; too short: awards find their slots sold.
    public var holdMax = Interval.milliseconds(250)
    /// A task whose candidates are all busy waits for the earliest slot and asks again, until its deadline. Where another of
    /// the client's models could answer, or sellers only seem dead, it waits for this long from its start (4 × `holdMax`:
    /// the holds of concurrent auctions and short answers have ended), or for `patienceAfterLoss` from its worker's loss.
    /// Shorter: refusals in a market that isn't full; longer: refusals come late.
    public var patience = Interval.milliseconds(1_000)
    public var patienceAfterLoss = Interval.seconds(10)
    /// How long, from its start, a task waits for this node's own bounds to let it ask. Shorter: a burst refuses
    /// some of itself; longer: a node that is far too small says so late.
    public var ownBoundsPatience = Interval.seconds(10)
    /// Shortest wait between two such auctions, doubled each time up to the longest; a random wait of at
    /// most the same length is added, so that two buyers that collided once do not collide again.
    public var retryMin = Interval.milliseconds(20)
    public var retryMax = Interval.milliseconds(500)
    /// Auctions and workers of one task: what a hostile market can cost it. Waiting for a slot takes an auction each
    /// `retryMax` to twice that, for at most `deadlineMax`.
    public var auctionsMax = 8_192
    public var assignmentsMax = 16

    /// Auctions of a quote in which nobody bids. A task goes on; a person waits for a quote, who can ask again.
    public var quoteAuctionsMax = 4

    // MARK: - Awarding

    /// How long an award may be unanswered before the next bid is awarded: 4 × the worker's smoothed reply time
    /// + 100 ms within these bounds. Too short: two workers start; too long: the client waits for a dead one.
    public var awardWaitMin = Interval.milliseconds(200)
    public var awardWaitMax = Interval.milliseconds(1_000)
    /// From the award until a channel must stand: a lease's length, after which the slot is gone anyway.
    public var channelWait = Interval.milliseconds(2_000)

    // MARK: - Streaming

    /// Unacknowledged bytes that a worker may have in flight. Must exceed rate × round trip (64 KiB: 300 kB/s at
    /// 200 ms); it is also what a client that doesn't read can make us hold.
    public var windowBytes: UInt64 = 65_536
    /// A worker with this many windows unacknowledged ignores the rule, and its assignment ends.
    public var windowsOverrunMax: UInt64 = 16
    /// Silence that means a stall: at least three progress frames. Shorter: a pause of the kernel's
    /// scheduler kills healthy answers; longer: the client waits.
    public var stallMin = Interval.milliseconds(1_500)
    /// Multiples: of the bid's first token before anything is heard, of the median gap between deltas afterwards.
    public var stallFactor: Int64 = 3
    /// How long a worker that lives is believed without evidence of progress where no other can have its task: before the
    /// first byte (or, if longer, what its bid promised or its prompt takes at `promptTokensPerSecondMin`), and after it.
    /// Shorter: busy model servers lose tasks that they would have done; longer: clients wait for workers whose backend hangs.
    public var preparingQuietMax = Interval.seconds(10)
    public var generatingQuietMax = Interval.seconds(10)
    /// A slow CPU reads a prompt this fast, and so does a seller that doesn't say how fast it reads.
    public var promptTokensPerSecondMin: UInt32 = 100
    /// How long words alone count as evidence, whatever they say: a 40 GB model from a slow disk takes a minute to load.
    public var preparingMax = Interval.seconds(90)
    /// The same for a seller that never finished a task here, doubled with each worker of the task that was too slow, and longer
    /// by `wordsForEach` for each task that it finished since it last lost one: else a new key holds every task until its
    /// deadline by words that cost nothing, or does so after a few answers.
    public var strangersWordsMax = Interval.seconds(15)
    public var wordsForEach = Interval.seconds(2)
    /// A worker's exposure is what it delivers between two receipts; a signature costs the buyer 25 µs.
    public var receiptInterval = Interval.milliseconds(1_000)
    /// Largest text, in bytes, that is kept so that another worker can continue it. Beyond, a lost worker ends the task.
    public var deliveredBytesMax = 1 << 20
    /// Largest request, in bytes (`channel.proto`), and largest whole answer (an embedding).
    public var bodyBytesMax = 8 << 20
    public var answerBytesMax = 8 << 20
    /// Bytes of all requests that have been announced to a seller and are not complete; strangers' at most half. Larger:
    /// they fill its memory with requests that never end; smaller: large requests find no seller.
    public var awaitedBytesMax = 64 << 20
    /// Bytes in one frame of a request's body or of an answer's text; a frame holds at most 16,000.
    public var bodyPartBytes = 15_000
    public var deltaBytes = 12_000
    /// Most bytes of `extra` that say nothing before an answer says something: the roles of 128 choices. Must be below
    /// half a window, or a worker could hide its silence behind what the client has not got.
    public var preludeBytesMax = 16_384

    // MARK: - Tables

    /// Open tasks of this node, each with a channel; some 40 kB each.
    public var tasksMax = 4_096
    public var transcriptsMax = 1_000
    public var transcriptAge = Interval.minutes(60)
    /// Sellers whose reply times, speeds and failures are remembered.
    public var sellersMax = 4_096

    // MARK: - Trust (× 1000)

    /// What a key is trusted that never finished a task, at most; each of its first `provenTasks` tasks lifts that by an
    /// equal part, up to 1000. Above `trustAfterLoss`, or a new key would be worse than one that failed; below 1000, or a
    /// new key would be as good as one that works.
    public var trustNew: UInt32 = 900
    public var provenTasks = 4
    /// The factors on a seller's trust after an assignment that failed, and after an award that it refused. 700 makes
    /// its bids 43 % more expensive: it loses to an equal, and still works where it is alone.
    public var trustAfterLoss: UInt32 = 700
    public var trustAfterRefusal: UInt32 = 970
    public var trustMin: UInt32 = 50
    /// Failures of one seller within this time are one event.
    public var blameEvery = Interval.seconds(1)
    /// A seller comes last for `suspensionMin` once its setbacks weigh this: 4 a loss, 2 a finding or a refused award, less 1
    /// for each task that it finishes (`Setback`); doubled with each further loss. More: a seller that asks nothing wins task
    /// after task and fails it; less: one accident counts.
    public var setbacksMax = 8
    public var suspensionMin = Interval.seconds(10)
    public var suspensionMax = Interval.minutes(10)
    /// The share of this node's running tasks, in percent and at least one task, that sellers which never finished one here
    /// may have together while others have room. After a task that one of them lost they get none for `suspensionMin`,
    /// doubled with each further loss up to `suspensionMax`. More: a liar's fresh keys hold as many of a burst's tasks;
    /// 0: nobody new ever sells.
    public var newcomersPercent = 12
    /// How long a seller that never finished a task here may show no byte where another one could do the task, whatever it
    /// promises; longer prompts have a millisecond for each token. Shorter: cold models lose their first task; longer: each
    /// new key of a liar costs a client that time.
    public var newcomersQuietMax = Interval.seconds(4)
    /// Assignments of one task that sellers which never finished a task here may lose; then one that did is asked, if
    /// there is one. More: new keys, which cost nothing, can use up all assignments of a task.
    public var strangersLostMax = 2
    /// Assignments of one task that may come to nothing before only the sellers with the best records are asked: those that
    /// finished at least half as many tasks here as the best. More: keys that did one task each can use up all assignments.
    public var lossesMax = 4
    /// Assignments that came to nothing, refused awards included, after which a task ends: refusals are quick, and no worker
    /// was lost by them.
    public var refusalsMax = 32
    /// The most tokens of an answer for which neither client nor worker names a limit: of a worker that states no context, or
    /// a larger one. With 16 bytes a token it is what a node collects of an answer (`answerBytesMax`, half).
    public var answerTokensMax: UInt32 = 262_144
    /// Half of what is missing to 1000 comes back in this time, and a tenth with each finished task.
    public var trustHalfLife = Interval.minutes(10)

    // MARK: - Bidding

    /// From an award until the channel and the task must have come, else the slot is free again.
    public var leaseTime = Interval.milliseconds(2_000)
    /// From a task's first frame until its whole body must be there: 8 MiB at 5 Mbit/s.
    public var bodyWait = Interval.seconds(15)
    /// A worker that has sent no delta for this long sends a progress frame.
    public var progressInterval = Interval.milliseconds(500)
    /// Longest deadline that a worker gives a task, whatever its buyer asks, and that of a call without one.
    public var deadlineMax = Interval.minutes(60)
    public var deadlineDefault = Interval.minutes(10)
    /// Output that waits this long for a buyer that takes none of it ends the task. Shorter: a client that pauses loses
    /// its answer; longer: buyers that don't read hold slots.
    public var unreadMax = Interval.seconds(10)
    /// A task ends when it has sent this many tokens since the last receipt that acknowledges them, over at least this
    /// time (10 × `receiptInterval`). It is what a buyer that never pays can take at a time.
    public var unpaidTokens: UInt32 = 256
    public var unpaidMax = Interval.seconds(10)
    /// From the end of an answer until its final receipt must have come. Shorter: a buyer whose receipt is on its way has
    /// fewer slots; longer: one that never pays has its slots for that much longer.
    public var finalReceiptMax = Interval.seconds(5)
    /// A buyer has one slot of its own for each time that it paid the price of this number of tokens, a sixteenth of
    /// `unpaidTokens`. More: a buyer with short chats is a stranger for longer; 0: a few payments for next to nothing take
    /// every slot.
    public var slotTokens: UInt64 = 16
    /// A buyer or network that leaves this number of answers unpaid in a row is a debtor, until it pays for one or
    /// `unpaidMemory` has passed. Fewer: a few lost connections make one; more: each new network takes more for nothing.
    public var unpaidInRowMax = 3
    /// Answers that end unpaid within this time count once. Shorter: one power cut of a buyer with many tasks is enough;
    /// longer: a debtor has half of an idle seller for that much longer, at `unpaidInRowMax` − 1 times this.
    public var unpaidEvery = Interval.seconds(30)
    /// Longer: whoever gets a debtor's address is treated like it; much shorter: waiting is as good as paying.
    public var unpaidMemory = Interval.minutes(24 * 60)
    /// For how long a network is known for a lease that no receipt followed. Longer: a buyer whose channel or worker failed
    /// once finds busy sellers closed; much shorter than this: addresses take turns.
    public var openLeaseMemory = Interval.seconds(30)
    /// Receipts of one attempt come at least this far apart: a quarter of what ours need, so that jitter loses none.
    public var receiptSpacing = Interval.milliseconds(125)
    /// Wrong signatures on receipts of one attempt that end it. A wrong one costs a check, and no honest buyer sends any.
    public var forgedReceiptsMax = 2
    /// The strangers' share: percent of a model's slots that are lent to buyers beyond one for each key and one for each
    /// task that it paid, 0 to 100. At 100 strangers can take everything; at 0 a seller that was ever paid serves nobody
    /// new.
    public var strangersPercent = 50
    /// How much later than they came strangers have their turn in a seller's queue. Longer: newcomers wait for ever at a seller
    /// that others keep busy; shorter: whoever never paid delays those that did.
    public var strangersDelay = Interval.seconds(5)
    /// A worker that reports the deadline at most this long before it is believed: its deadline runs on its own clock,
    /// in whole milliseconds.
    public var deadlineSlack = Interval.milliseconds(100)
    /// How many attempts of each kind are remembered: those whose hold ran out (for late awards), those given up, and
    /// those with a job (for repeated awards and last receipts).
    public var rememberedMax = 1_024
    /// Attempts with a receipt that are remembered, some 80 bytes each: as many as the database has receipts. Fewer: old
    /// receipts pay for new tasks of the same name.
    public var soldMax = 65_536
    /// Buyers, and networks, that are known for leases or unpaid answers; a quarter of it for each power of two of tasks
    /// that they paid (`PaidTasks`).
    public var knownBuyersMax = 4_096
    /// Retry advice when a busy slot's end can't be predicted, and its upper bound.
    public var busyRetry = Interval.milliseconds(1_000)
    public var busyRetryMax = Interval.seconds(30)
    /// Quotes a second, and saved up, of one buyer; its network may have `quotesNetworkFactor` times as many. A quote costs a
    /// signature (25 µs). Fewer: people who compare models wait; more: others pay with the seller's CPU for nothing.
    public var quotesPerSecond = 5
    public var quotesBurst = 20
    public var quotesNetworkFactor = 4
    /// Buyers, and networks, whose quotes are counted. Fewer: whoever has more keys and networks gets more quotes.
    public var quotingBuyersMax = 1_024
    /// Buyers, and networks, whose tasks of the last minute are counted where a seller limits them.
    public var ratedBuyersMax = 4_096
}
