// What the storefront says, in English and Chinese, and how it writes numbers.

export const dictionaries = {
  en: {
    otherLanguage: "中文",
    connecting: "Connecting",
    live: "Live",
    polling: "Live",
    offline: "Offline: this is the last order that came",
    pinned: "Order as of {time}",
    newer: "Order as of {time} · show the current one",
    ends: "{phase} ends in",
    begins: "ends in",
    endOfShelf: "That is all of it.",
    empty: "Nothing is on the shelf yet.",
    unknown: "There is no venue called “{venue}”.",
    noVenue: "There is no venue yet.",
    up: "up {places}",
    down: "down {places}",
    stockLeft: "{stock} left",
    soldOut: "Sold out",
    gone: "No longer in this sale",
    coupon: "{off} off",
    couponAbove: "{off} off from {above}",
    hot: "Hot",
    rising: "Rising",
    new: "New",
    low_stock: "Nearly gone",
    sold_out: "Sold out",
    pinned_badge: "Selected",
    paid: "Ad",
    label: "Slot {slot}: {title}",
  },
  zh: {
    otherLanguage: "English",
    connecting: "连接中",
    live: "实时",
    polling: "实时",
    offline: "离线：显示的是最后收到的排序",
    pinned: "{time} 的排序",
    newer: "{time} 的排序 · 查看最新排序",
    ends: "{phase} 距结束",
    begins: "距结束",
    endOfShelf: "已经到底了",
    empty: "货架上还没有商品",
    unknown: "没有名为“{venue}”的会场",
    noVenue: "还没有会场",
    up: "上升 {places} 位",
    down: "下降 {places} 位",
    stockLeft: "仅剩 {stock} 件",
    soldOut: "已售罄",
    gone: "已退出本场活动",
    coupon: "立减 {off}",
    couponAbove: "满 {above} 减 {off}",
    hot: "热卖",
    rising: "飙升",
    new: "新上榜",
    low_stock: "即将售罄",
    sold_out: "已售罄",
    pinned_badge: "精选",
    paid: "广告",
    label: "坑位 {slot}：{title}",
  },
};

const asked = new URLSearchParams(location.search).get("lang");
const wishes = [asked, navigator.language].filter(Boolean).map((tag) => tag.toLowerCase().split("-")[0]);

export const language = wishes.find((tag) => Object.hasOwn(dictionaries, tag)) ?? "en";
const locale = language === "zh" ? "zh-CN" : "en";

/** The words of one key, with {names} replaced by values. */
export function say(key, values = {}) {
  return dictionaries[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A badge for people; one that this page does not know is shown as it is. */
export function sayBadge(name) {
  const key = name === "pinned" ? "pinned_badge" : name;
  return Object.hasOwn(dictionaries[language], key) ? say(key) : name;
}

const money = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const writePrice = (minorUnits) => money.format(minorUnits / 100);
export const writeTime = (ms) => clock.format(ms);

/** What is left of so many ms: "1:02:03", at least "0:00". */
export function writeLeft(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const [first, ...rest] = parts[0] ? parts : parts.slice(1);
  return [first, ...rest.map((part) => String(part).padStart(2, "0"))].join(":");
}
