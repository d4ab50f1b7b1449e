// Everything the page says, in English and Chinese, and how it writes numbers.

export const dictionaries = {
  en: {
    page: "Saima: the race, live",
    venue: "Venue",
    frame: "Frame",
    rule: "Rule",
    ruleVersion: "v{version}",
    runners: "Runners",
    runnersOfSlots: "{runners} for {slots} slots",
    otherLanguage: "中文",
    otherLanguageLabel: "用中文显示",

    connecting: "Connecting",
    live: "Live",
    stale: "Stale",
    offline: "Offline",
    connectingHint: "Asking for the first frame",
    liveHint: "The scorer is committing and this page follows it",
    staleHint: "Redis or the scorer is away: this is the last frame it published",
    offlineHint: "The service does not answer: this is the last frame that arrived here",
    ageSeconds: "{age} s old",
    ageMinutes: "{age} min old",
    noVenue: "There is no venue yet. This page starts as soon as one is created.",
    unknownVenue: "There is no venue called “{venue}”.",
    noRunners: "Nobody is on the board yet. The race starts with the first runner.",

    lanes: "Lanes, first slot first",
    slot: "Slot",
    move: "Move",
    moveHint: "Places won or lost against the order ten seconds ago",
    runner: "Runner",
    course: "Race",
    courseHint: "Length: the score as a share of the best score in view",
    score: "Score",
    signals: "What drives it",
    laneLabel: "Slot {slot}: {title}, score {score}, {move}. Why is it here?",
    laneLabelBrief: "Slot {slot}: {title}, {move}. Open for its data.",
    up: "up {places}",
    down: "down {places}",
    same: "no change",
    newcomer: "new",
    newcomerShort: "NEW",
    quiet: "no signal yet",

    why: "Why is it here?",
    close: "Close",
    inSlot: "Slot {slot}",
    leftBoard: "No longer on the board; these were its last numbers, in slot {slot}.",
    scoresKept: "This venue shows the order of the race, and keeps its scores to its operators.",
    behind: "{gap} behind slot {slot}",
    ahead: "{gap} ahead of slot {slot}",
    above: "scores {gap} more than slot {slot}, but runs behind it",
    below: "scores {gap} less than slot {slot}, but runs ahead of it",
    merchant: "Merchant",
    product: "Product",
    category: "Category",
    price: "Price",
    pageLink: "Product page",
    signal: "Signal",
    value: "Value",
    weight: "Weight",
    contribution: "Contribution",
    boosts: "boosts and rounding",
    total: "Score",
    sumNote: "Score = value × weight, summed over the terms, then boosts.",
    boardNote: "The order of the slots also follows stock, exclusions, stability, newcomers, caps, tiers and pins, so a lane may stand above a higher score.",
    signal_level: "how much there is in the window",
    signal_root: "the window’s amount in units of its own noise: proven sellers",
    signal_total: "everything since the race began",
    signal_uplift: "window minus the window before it",
    signal_growth: "rise against the window before it, small numbers damped",
    signal_surge: "rise in units of its own noise: 100 → 140 counts, 1 → 3 hardly",
    signal_rate: "how far the ratio lies above the venue’s mean",
    signal_rate_uplift: "how much the ratio rose",
  },
  zh: {
    page: "赛马 Saima：实时赛况",
    venue: "会场",
    frame: "帧",
    rule: "规则",
    ruleVersion: "第 {version} 版",
    runners: "参赛商品",
    runnersOfSlots: "{runners} 个，争 {slots} 个坑位",
    otherLanguage: "English",
    otherLanguageLabel: "Show in English",

    connecting: "连接中",
    live: "实时",
    stale: "陈旧",
    offline: "离线",
    connectingHint: "正在读取第一帧",
    liveHint: "计分正常，页面同步跟随",
    staleHint: "Redis 或计分进程暂不可用：显示的是最后发布的一帧",
    offlineHint: "服务没有应答：显示的是最后收到的一帧",
    ageSeconds: "{age} 秒前",
    ageMinutes: "{age} 分钟前",
    noVenue: "还没有会场。创建会场后，本页自动开始。",
    unknownVenue: "没有名为“{venue}”的会场。",
    noRunners: "榜上还没有商品，有商品参赛后即开始。",

    lanes: "赛道，按坑位排列",
    slot: "坑位",
    move: "升降",
    moveHint: "与十秒前的排序相比，升降的位数",
    runner: "参赛商品",
    course: "赛况",
    courseHint: "长度：综合分占当前最高分的比例",
    score: "综合分",
    signals: "得分来源",
    laneLabel: "坑位 {slot}：{title}，综合分 {score}，{move}。为什么排在这里？",
    laneLabelBrief: "坑位 {slot}：{title}，{move}。打开查看商品信息",
    up: "上升 {places} 位",
    down: "下降 {places} 位",
    same: "不变",
    newcomer: "新上榜",
    newcomerShort: "新",
    quiet: "暂无信号",

    why: "为什么排在这里？",
    close: "关闭",
    inSlot: "坑位 {slot}",
    leftBoard: "已不在榜上；以下是它在坑位 {slot} 时的最后数据。",
    scoresKept: "本会场只公布排序，综合分只对运营可见。",
    behind: "比坑位 {slot} 少 {gap} 分",
    ahead: "比坑位 {slot} 多 {gap} 分",
    above: "比坑位 {slot} 多 {gap} 分，但排在其后",
    below: "比坑位 {slot} 少 {gap} 分，但排在其前",
    merchant: "商家",
    product: "商品",
    category: "类目",
    price: "价格",
    pageLink: "商品页",
    signal: "信号",
    value: "数值",
    weight: "权重",
    contribution: "贡献",
    boosts: "加权与舍入",
    total: "综合分",
    sumNote: "综合分 = 各项 数值 × 权重 之和，再计入加权。",
    boardNote: "坑位排序还受库存、排除、稳定性、新品、上限、分层和固定坑位影响，因此低分有时会排在高分之前。",
    signal_level: "时间窗内的总量",
    signal_root: "以自身噪声为单位的总量：稳定热卖",
    signal_total: "开赛以来的累计",
    signal_uplift: "时间窗减去前一时间窗",
    signal_growth: "相对前一时间窗的增幅，小数值已收缩",
    signal_surge: "以自身噪声为单位的涨幅：100 → 140 算数，1 → 3 几乎不算",
    signal_rate: "比值高出会场均值多少",
    signal_rate_uplift: "比值提高了多少",
  },
};

// The words that term names are made of; other words are shown as they are.
const chineseTerms = {
  impression: "曝光", click: "点击", favorite: "收藏", cart: "加购", order: "下单", pay: "支付", refund: "退款",
  amount: "金额", count: "次数", level: "总量", root: "热度", total: "累计", uplift: "涨幅", growth: "增幅",
  surge: "飙升", rate: "转化", entry: "入场", score: "分",
};

export function pickLanguage(search, preferred) {
  const asked = new URLSearchParams(search).get("lang");
  const wishes = [asked, preferred].filter(Boolean).map((tag) => tag.toLowerCase().split("-")[0]);
  return wishes.find((tag) => Object.hasOwn(dictionaries, tag)) ?? "en";
}

export const language = pickLanguage(location.search, navigator.language);

/** The words of one key, with {names} replaced by values. */
export function say(key, values = {}) {
  return dictionaries[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function knows(key) {
  return Object.hasOwn(dictionaries[language], key);
}

const locale = language === "zh" ? "zh-CN" : "en";
const digits = (fewest, most = fewest) =>
  new Intl.NumberFormat(locale, { minimumFractionDigits: fewest, maximumFractionDigits: most });
const whole = digits(0);
const tenths = digits(1);
const hundredths = digits(2);
const upToThousandths = digits(0, 3);

export const writeWhole = (number) => whole.format(number);
export const writeScore = (number) => withMinus(hundredths.format(number));
export const writeValue = (number) => withMinus(upToThousandths.format(number));
export const writePrice = (minorUnits) => hundredths.format(minorUnits / 100);

/** A number with its sign: "+2.4", "−0.3". */
export function writeSigned(number, precise = false) {
  const format = precise ? hundredths : tenths;
  const written = format.format(Math.abs(number));
  if (written === format.format(0)) return written;
  return (number < 0 ? "−" : "+") + written;
}

function withMinus(written) {
  return written.replace(/^-/, "−").replace(/^−(0(\.0*)?)$/, "$1");
}

export function writeAge(ms) {
  const seconds = Math.max(0, ms) / 1000;
  return seconds < 100
    ? say("ageSeconds", { age: tenths.format(seconds) })
    : say("ageMinutes", { age: tenths.format(seconds / 60) });
}

/** Places moved since a while ago (null: was not on the board) as a mark, a sentence part and a kind. */
export function writeMove(places) {
  if (places === null) return { kind: "new", mark: say("newcomerShort"), words: say("newcomer") };
  if (places > 0) return { kind: "up", mark: `▲${places}`, words: say("up", { places }) };
  if (places < 0) return { kind: "down", mark: `▼${-places}`, words: say("down", { places: -places }) };
  return { kind: "same", mark: "–", words: say("same") };
}

/** A term's name for people: "pay_amount surge" -> "pay amount surge", "支付金额飙升". */
export function writeTerm(name) {
  const plain = name.replaceAll("_", " ");
  if (language !== "zh") return plain;
  return plain
    .split(/([ /]+)/)
    .map((part) => chineseTerms[part] ?? part)
    .join("")
    .replace(/([\u4e00-\u9fff]) (?=[\u4e00-\u9fff])/g, "$1");
}

/** What the signal in a term's name ("metric signal") means, or null when the name has no known signal. */
export function explainTerm(name) {
  const [, signal] = name.match(/ ([a-z_]+)$/) ?? [];
  return signal && knows(`signal_${signal}`) ? say(`signal_${signal}`) : null;
}
