// A formula wider than the page scrolls in its own box; the keyboard must reach that box.
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  const reach = () =>
    document.querySelectorAll("div.math mjx-container").forEach((box) => {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    });
  reach();
  addEventListener("resize", reach);
});
